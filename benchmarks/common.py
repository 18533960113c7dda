"""What every benchmark does besides measuring: say where it ran, time by turns, print a table, keep a JSON line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Spread:
    """Times of one call over the turns of a benchmark, in milliseconds."""

    median_ms: float
    min_ms: float
    max_ms: float
    cpu_median_ms: float  # processor time of all threads: what a busy machine changes least
    repeats: int

    @staticmethod
    def of(wall_s: Sequence[float], cpu_s: Sequence[float]) -> Spread:
        wall_ms = [1e3 * s for s in wall_s]
        return Spread(
            median_ms=statistics.median(wall_ms),
            min_ms=min(wall_ms),
            max_ms=max(wall_ms),
            cpu_median_ms=1e3 * statistics.median(cpu_s),
            repeats=len(wall_ms),
        )


def time_by_turns(
    subjects: dict[str, Callable[[], object]], *, repeats: int, warm_up: int = 2, turn_s: float = 0.0
) -> dict[str, Spread]:
    """Time the subjects one after the other, again and again, so that a busy moment hits them all.

    A turn calls its subject once, or as often as fits in `turn_s` seconds, and counts as one measurement: the mean of
    its calls. With turns of equal length the caches left by the others' turns cost each subject alike.
    """
    calls = {name: 1 for name in subjects}
    for name, subject in subjects.items():
        for _ in range(warm_up):
            start = time.process_time()
            subject()
            calls[name] = max(1, int(turn_s / max(time.process_time() - start, 1e-6)))
    wall_s: dict[str, list[float]] = {name: [] for name in subjects}
    cpu_s: dict[str, list[float]] = {name: [] for name in subjects}
    for _ in range(repeats):
        for name, subject in subjects.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                subject()
            cpu_s[name].append((time.process_time() - cpu_start) / calls[name])
            wall_s[name].append((time.perf_counter() - wall_start) / calls[name])
    return {name: Spread.of(wall_s[name], cpu_s[name]) for name in subjects}


def write_result(benchmark: str, results: dict[str, object], *, packages: Sequence[str]) -> Path:
    """Append one JSON line with results, hardware, versions and commit to results/<benchmark>.jsonl."""
    line = {
        "benchmark": benchmark,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "hardware": hardware(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
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
        return subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

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
