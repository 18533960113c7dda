"""What benchmarks share besides `train.py` runs (`runs.py`): timing by turns, pictures, a table, a line of results.

Needs no torch and no numpy: the GPU suite imports it where either may be missing.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Figure:
    """One row of results: the median of its repeats, the least and the most. wanted: the budget, in words."""

    what: str
    unit: str
    median: float
    low: float
    high: float
    wanted: str = ""

    @staticmethod
    def of(what: str, values: Sequence[float] | float, unit: str, wanted: str = "") -> Figure:
        values = [values] if isinstance(values, int | float) else values
        return Figure(what, unit, statistics.median(values), min(values), max(values), wanted)

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What, median with unit, spread, wanted."""
        is_single = self.low == self.high
        spread = "" if is_single else f"{_digits(self.low)} to {_digits(self.high)}"
        return self.what, f"{_digits(self.median)} {self.unit}".strip(), spread, self.wanted


def _digits(value: float) -> str:
    """Three significant digits; all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Turns:
    """Seconds of one call by turn: by the clock, and of all threads' processor time, which a busy machine changes
    least."""

    wall_s: list[float]
    cpu_s: list[float]


def time_by_turns(
    subjects: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 2, turn_s: float = 0.0
) -> dict[str, Turns]:
    """Time the subjects one after the other, again and again, so that a busy moment hits them all.

    A turn calls its subject once, or as often as fits in `turn_s` seconds, and counts as one measurement: the mean of
    its calls. With turns of equal length the caches left by the others' turns cost each subject alike.
    """
    calls = dict.fromkeys(subjects, 1)
    for name, subject in subjects.items():
        for _ in range(warm_up):
            start = time.process_time()
            subject()
            calls[name] = max(1, int(turn_s / max(time.process_time() - start, 1e-6)))
    found = {name: Turns([], []) for name in subjects}
    for _ in range(repeats):
        for name, subject in subjects.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                subject()
            found[name].cpu_s.append((time.process_time() - cpu_start) / calls[name])
            found[name].wall_s.append((time.perf_counter() - wall_start) / calls[name])
    return found


@dataclass
class Panel:
    """One set of axes. lines: (label, x, y); lines of one label share a colour. levels: horizontal lines by label."""

    title: str
    x_label: str
    lines: list[tuple[str, Sequence[float], Sequence[float]]] = field(default_factory=list)
    levels: Mapping[str, float] = field(default_factory=dict)
    at: Sequence[float] = ()  # vertical lines
    is_log: bool = False


def draw(path: Path, *panels: Panel) -> None:
    """Write a PNG with the panels side by side."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(5 * len(panels), 3.6), layout="constrained")
    for panel, axes in zip(panels, canvas.subplots(1, len(panels), squeeze=False)[0], strict=True):
        labels = list(dict.fromkeys(label for label, _, _ in panel.lines))
        for number, (label, x, y) in enumerate(panel.lines):
            is_first = label not in [before for before, _, _ in panel.lines[:number]]
            marker = "o" if panel.is_log else ""
            colour = f"C{labels.index(label)}"
            axes.plot(x, y, color=colour, lw=1.2, marker=marker, label=label if is_first else None)
        for x in panel.at:
            axes.axvline(x, color="black", alpha=0.4, lw=0.7)
        for label, y in panel.levels.items():
            axes.axhline(y, color="#444444", ls=":", lw=1, label=label)
        axes.set(title=panel.title, xlabel=panel.x_label)
        if panel.is_log:
            axes.set(xscale="log", yscale="log")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=90)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Whose help is the module's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def report(benchmark: str, figures: Sequence[Figure], *, packages: Sequence[str], **raw: object) -> None:
    """Print the figures as a table and append them, with what else is worth keeping, to the benchmark's results."""
    rows = [("", "median", "least to most", "wanted"), *(figure.cells for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("written to", write_result(benchmark, raw, packages=packages, figures=figures).relative_to(ROOT))


def write_result(
    benchmark: str, results: Mapping[str, object], *, packages: Sequence[str], figures: Sequence[Figure] = ()
) -> Path:
    """Append one JSON line with results, hardware, versions and commit to results/<benchmark>.jsonl."""
    line = {
        "benchmark": benchmark,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "figures": figures,
        "results": results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark}.jsonl"
    with path.open("a") as file:
        file.write(json.dumps(line, default=asdict) + "\n")
    return path


def hardware() -> dict[str, object]:
    """CPU model, cores that this process may use, and the load on them as the benchmark ends."""
    return {"cpu": _cpu_model(), "cores": len(os.sched_getaffinity(0)), "load_1min": round(os.getloadavg()[0], 2)}


def commit() -> str:
    """The checkout's commit, with `+` where files differ from it; "unknown" outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def version(package: str) -> str | None:
    """A package's version; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
