"""CartPole as processes, with one learner and with two, beside the same run in one process: steps a second, and where
each process's time goes.

All are whole runs, started as a user starts them, one after the other; rates are of the paced part, from the
first train step to the last, without imports, compilation, head start and evaluation. A first short run of each fills
numba's cache. A process's time is booked by itself: busy, or waiting for pacing, for space, for input. busy_cpu and
waiting_cpu are the share of a core that it had meanwhile: a busy process that has less than one shares its core.

    make bench NAME=process_mode
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import write_result
from speedyzero.observe.metrics import MetricSeries, read_metrics

ROOT = Path(__file__).parents[1]
WARM_UP = ["schedule.env_steps=700", "schedule.train_steps=20", "evaluate.episodes=1"]
WAITS = ("wait_pacing", "wait_space", "wait_input", "wait_group")
MODES = {"inline": ["--inline"], "processes": [], "two ranks": ["learner.ranks=2"]}


@dataclass(frozen=True)
class Rates:
    env_steps_per_s: float
    train_steps_per_s: float
    paced_s: float


def train(run_dir: Path, *words: str) -> dict[str, MetricSeries]:
    """One run from the command line; its metrics."""
    command = [sys.executable, "train.py", "--game", "CartPole-v1", "--gpus", "0", "--run-dir", str(run_dir)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(run_dir.parent / "numba")}
    subprocess.run([*command, *words], cwd=ROOT, env=environment, check=True, capture_output=True)
    return read_metrics(run_dir)


def rates(metrics: dict[str, MetricSeries]) -> Rates:
    """Over the part of the run that the learner's figures span."""
    steps, played = metrics["learner/loss"], metrics["reanalyzer/env_steps"]
    seconds = float(steps.times_s[-1] - steps.times_s[0])
    return Rates(
        env_steps_per_s=float(played.values[-1] - played.values[0]) / float(played.times_s[-1] - played.times_s[0]),
        train_steps_per_s=float(steps.steps[-1] - steps.steps[0]) / seconds,
        paced_s=seconds,
    )


def shares(metrics: dict[str, MetricSeries]) -> dict[str, dict[str, float]]:
    """Of each process's time at work, from being ready to its end."""
    found = {}
    for name in metrics:
        if not (name.startswith("time/") and name.endswith("/busy_s")):
            continue
        process = name.split("/")[1]
        seconds = {kind: float(metrics[f"time/{process}/{kind}_s"].values[-1]) for kind in ("busy", *WAITS)}
        waited, total = sum(seconds[kind] for kind in WAITS), sum(seconds.values())
        busy_cpu, wait_cpu = (float(metrics[f"time/{process}/{kind}_cpu_s"].values[-1]) for kind in ("busy", "wait"))
        found[process] = {kind: spent / total for kind, spent in seconds.items()}
        found[process] |= {"busy_cpu": busy_cpu / seconds["busy"], "waiting_cpu": wait_cpu / waited, "total_s": total}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each mode, by turns (default 3)")
    parser.add_argument("--modes", default=",".join(MODES), help=f"some of {', '.join(MODES)}")
    parser.add_argument("settings", nargs="*", help="key=value, as for train.py")
    arguments = parser.parse_args()
    modes = {mode: MODES[mode] for mode in arguments.modes.split(",")}
    measured: dict[str, list[Rates]] = {mode: [] for mode in modes}
    where: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'mode':10} {'env steps/s':>12} {'train steps/s':>14} {'paced s':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        for mode, words in modes.items():
            train(Path(scratch) / f"warm-{mode}", *words, *arguments.settings, *WARM_UP)
        for repeat in range(arguments.repeats):
            for mode, words in modes.items():
                metrics = train(Path(scratch) / f"{mode}-{repeat}", *words, *arguments.settings)
                one = rates(metrics)
                measured[mode].append(one)
                print(f"{mode:10} {one.env_steps_per_s:>12.1f} {one.train_steps_per_s:>14.2f} {one.paced_s:>8.1f}")
                if mode != "inline":
                    where[mode] = shares(metrics)
    kinds = ("busy", *WAITS, "busy_cpu", "waiting_cpu")
    for mode, processes in where.items():
        print(f"\n{mode:14}" + "".join(f"{kind:>13}" for kind in kinds) + "   (the last run)")
        for process, share in processes.items():
            print(f"{process:14}" + "".join(f"{share[kind]:>12.1%} " for kind in kinds))
    results = {"settings": arguments.settings, "rates": measured, "shares": where}
    path = write_result("bench_process_mode", results, packages=("torch", "numba", "numpy", "gymnasium"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
