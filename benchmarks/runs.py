"""Training runs for benchmarks: `train.py` started as a user starts it, and rates and times from a run's metrics."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT
from speedyzero.observe.metrics import MetricSeries, read_metrics

Metrics = Mapping[str, MetricSeries]
SKIPPED_RECORDS = 2  # of each process after the moment from which its time counts


def start(*argv: str, numba_cache: Path | None = None, own_group: bool = False) -> subprocess.Popen[str]:
    """`train.py` without GPUs, its output kept for `finish`."""
    environment = {**os.environ, **({} if numba_cache is None else {"NUMBA_CACHE_DIR": str(numba_cache)})}
    command = [sys.executable, "train.py", "--gpus", "0", *argv]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=own_group,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for the run's end. Raises RuntimeError where it fails or leaves something in /dev/shm."""
    output, _ = process.communicate()
    left = [path.name for path in Path("/dev/shm").iterdir() if f".{process.pid}-" in path.name]
    if process.returncode or left:
        raise RuntimeError(f"exit code {process.returncode}, left in /dev/shm: {left}\n{output}")


def train(run_dir: Path, *argv: str, numba_cache: Path | None = None) -> dict[str, MetricSeries]:
    """A whole run; its metrics."""
    finish(start("--run-dir", str(run_dir), *argv, numba_cache=numba_cache))
    return read_metrics(run_dir)


def last_score(run_dir: Path) -> dict[str, Any]:
    """The entry of the final evaluation: `mean`, `step`, `duration_s` and others."""
    return json.loads((run_dir / "scores.json").read_text())["last"]


@dataclass(frozen=True)
class Rates:
    env_steps_per_s: float
    train_steps_per_s: float
    paced_s: float


def rates(metrics: Metrics) -> Rates:
    """From the first recorded train step to the last: without imports, compilation, head start and evaluation."""
    steps, played = metrics["learner/loss"], metrics["reanalyzer/env_steps"]
    seconds = float(steps.times_s[-1] - steps.times_s[0])
    return Rates(
        env_steps_per_s=float(played.values[-1] - played.values[0]) / float(played.times_s[-1] - played.times_s[0]),
        train_steps_per_s=float(steps.steps[-1] - steps.steps[0]) / seconds,
        paced_s=seconds,
    )


def time_shares(metrics: Metrics, *, since_s: float) -> dict[str, dict[str, float]]:
    """By process, of its time since then: busy, and waiting by kind; and the cores that it had while busy."""
    processes = [name.split("/")[1] for name in metrics if name.startswith("time/") and name.endswith("/busy_s")]
    return {process: _shares_of(metrics, process, since_s) for process in processes}


def _shares_of(metrics: Metrics, process: str, since_s: float) -> dict[str, float]:
    spent = {}
    for name, series in metrics.items():
        if name.startswith(f"time/{process}/"):
            late = series_after(series, since_s)
            spent[name.rpartition("/")[2].removesuffix("_s")] = float(late.values[-1] - late.values[0])
    counted = {kind: seconds for kind, seconds in spent.items() if not kind.endswith("_cpu")}
    total = sum(counted.values())
    shares = {kind: seconds / total if total else 0.0 for kind, seconds in counted.items()}
    return {**shares, "busy_cores": spent.get("busy_cpu", 0.0) / max(spent.get("busy", 0.0), 1e-9), "total_s": total}


def series_after(series: MetricSeries, since_s: float) -> MetricSeries:
    """From some records after that time on; at least the last two."""
    late = int((series.times_s < since_s).sum()) + SKIPPED_RECORDS
    first = max(0, min(late, len(series.times_s) - 2))
    return MetricSeries(series.steps[first:], series.values[first:], series.times_s[first:])


def time_table(shares: dict[str, dict[str, float]]) -> str:
    """One line a process: where its time went."""
    kinds = sorted({kind for share in shares.values() for kind in share} - {"total_s", "busy_cores", "busy"})
    lines = [f"{'process':14}{'busy':>10}" + "".join(f"{kind:>14}" for kind in kinds) + f"{'busy cores':>12}"]
    for process, share in shares.items():
        columns = "".join(f"{share.get(kind, 0.0):>14.1%}" for kind in kinds)
        lines.append(f"{process:14}{share.get('busy', 0.0):>10.1%}{columns}{share['busy_cores']:>12.2f}")
    return "\n".join(lines)
