"""A game as processes, with one learner and with two, beside the same run in one process: does it learn alike, steps a
second, and where each process's time goes.

All are whole runs, started as a user starts them, by turns, a seed for each round; rates are of the paced part, from
the first train step to the last, without imports, compilation, head start and evaluation. A first short run of each
fills numba's cache. A process's time is booked by itself: busy, or waiting for pacing, for space, for input. busy_cpu
and waiting_cpu are the share of a core that it had meanwhile: a busy process that has less than one shares its core.
Every run must exit with 0 and leave nothing in /dev/shm. Learning curves are means over tenths of the train steps of
what the actors' games scored (exploring as they do) and of the loss.

    make bench NAME=process_mode
    make bench NAME=process_mode ARGS="--game Pong --repeats 1 --figure docs/figures/process_mode_pong.png"
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import write_result
from speedyzero.observe.metrics import MetricSeries, read_metrics

ROOT = Path(__file__).parents[1]
WARM_UP = [
    "schedule.env_steps=700",
    "schedule.head_start_env_steps=500",
    "schedule.train_steps=20",
    "evaluate.episodes=1",
]
PARTS = 10  # of a learning curve
CURVES = {"actor/game_score": "score of the games played", "learner/loss": "loss"}
WAITS = ("wait_pacing", "wait_space", "wait_input", "wait_group")
MODES = {"inline": ["--inline"], "processes": [], "two ranks": ["learner.ranks=2"]}


@dataclass(frozen=True)
class Rates:
    env_steps_per_s: float
    train_steps_per_s: float
    paced_s: float


def train(game: str, run_dir: Path, *words: str) -> dict[str, MetricSeries]:
    """One run from the command line; its metrics. Raises RuntimeError where it fails or leaves something behind."""
    command = [sys.executable, "train.py", "--game", game, "--gpus", "0", "--run-dir", str(run_dir), *words]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(run_dir.parent / "numba")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = process.communicate()
    left = [path.name for path in Path("/dev/shm").iterdir() if f".{process.pid}-" in path.name]
    if process.returncode or left:
        raise RuntimeError(f"exit code {process.returncode}, left in /dev/shm: {left}\n{output.decode()}")
    return read_metrics(run_dir)


def curve(series: MetricSeries | None, train_steps: int) -> list[float | None]:
    """Means over equal parts of the train steps; None for a part without a value, as where no game ended."""
    if series is None:
        return [None] * PARTS
    part = np.minimum(series.steps * PARTS // max(train_steps, 1), PARTS - 1)
    return [float(series.values[part == i].mean()) if (part == i).any() else None for i in range(PARTS)]


def draw(curves: dict[str, list[dict[str, list[float | None]]]], game: str, path: Path) -> None:
    """Every run's curves, a colour for each mode."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(CURVES), figsize=(9, 3.2), layout="constrained")
    share = (np.arange(PARTS) + 0.5) / PARTS
    for axis, (name, title) in zip(axes, CURVES.items(), strict=True):
        for number, (mode, runs) in enumerate(curves.items()):
            for i, run in enumerate(runs):
                values = np.array(run[name], dtype=float)
                axis.plot(share, values, color=f"C{number}", alpha=0.7, label=mode if i == 0 else None)
        axis.set(xlabel="share of the train steps", title=f"{game}: {title}")
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


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
    parser.add_argument("--game", default="CartPole-v1")
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of each mode, by turns, seeds 0 upwards (default 3)"
    )
    parser.add_argument("--modes", default=",".join(MODES), help=f"some of {', '.join(MODES)}")
    parser.add_argument("--figure", type=Path, help="where to draw the learning curves")
    parser.add_argument("settings", nargs="*", help="key=value, as for train.py")
    arguments = parser.parse_args()
    game, modes = arguments.game, {mode: MODES[mode] for mode in arguments.modes.split(",")}
    measured: dict[str, list[Rates]] = {mode: [] for mode in modes}
    scores: dict[str, list[float]] = {mode: [] for mode in modes}
    curves: dict[str, list[dict[str, list[float | None]]]] = {mode: [] for mode in modes}
    where: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'mode':10} {'seed':>4} {'env steps/s':>12} {'train steps/s':>14} {'paced s':>8} {'final score':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for mode, words in modes.items():
            train(game, Path(scratch) / f"warm-{mode}", *words, *arguments.settings, *WARM_UP)
        for seed in range(arguments.repeats):
            for mode, words in modes.items():
                run_dir = Path(scratch) / f"{mode}-{seed}"
                metrics = train(game, run_dir, "--seed", str(seed), *words, *arguments.settings)
                last = json.loads((run_dir / "scores.json").read_text())["last"]
                one = rates(metrics)
                measured[mode].append(one)
                scores[mode].append(last["mean"])
                curves[mode].append({name: curve(metrics.get(name), last["step"]) for name in CURVES})
                print(
                    f"{mode:10} {seed:>4} {one.env_steps_per_s:>12.1f} {one.train_steps_per_s:>14.2f} "
                    f"{one.paced_s:>8.1f} {last['mean']:>12.1f}",
                    flush=True,
                )
                if mode != "inline":
                    where[mode] = shares(metrics)
    print_shares(where)
    if arguments.figure:
        draw(curves, game, arguments.figure)
    results = {
        "game": game,
        "settings": arguments.settings,
        "rates": measured,
        "scores": scores,
        "curves": curves,
        "shares": where,
    }
    path = write_result("bench_process_mode", results, packages=("torch", "numba", "numpy", "gymnasium"))
    print(f"written to {path}")


def print_shares(where: dict[str, dict[str, dict[str, float]]]) -> None:
    """Where each process's time went, by mode."""
    kinds = ("busy", *WAITS, "busy_cpu", "waiting_cpu")
    for mode, processes in where.items():
        print(f"\n{mode:14}" + "".join(f"{kind:>13}" for kind in kinds) + "   (the last run)")
        for process, share in processes.items():
            print(f"{process:14}" + "".join(f"{share[kind]:>12.1%} " for kind in kinds))


if __name__ == "__main__":
    main()
