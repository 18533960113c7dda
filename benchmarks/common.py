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
    """Times of one subject over its repeats, in milliseconds."""

    median_ms: float
    min_ms: float
    max_ms: float
    repeats: int

    @staticmethod
    def of(seconds: Sequence[float]) -> Spread:
        ms = [1e3 * s for s in seconds]
        return Spread(statistics.median(ms), min(ms), max(ms), len(ms))


def time_by_turns(subjects: dict[str, Callable[[], object]], *, repeats: int, warm_up: int = 2) -> dict[str, Spread]:
    """Time each subject `repeats` times, one after the other in every round, so that a busy moment hits them all."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    for round_number in range(warm_up + repeats):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject()
            elapsed = time.perf_counter() - start
            if round_number >= warm_up:
                seconds[name].append(elapsed)
    return {name: Spread.of(values) for name, values in seconds.items()}


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
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
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
