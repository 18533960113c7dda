"""What a setting is worth to the laptop agent: learning curves of a game with one thing changed at a time, over seeds.

    make bench NAME=levers ARGS="--seeds 3"                                   # the preset's own levers, on Pong
    make bench NAME=levers ARGS="--arm 'publish rarely' learner.publish_interval_samples=25600 --seeds 3"

`python -m speedyzero ablate` compares scores of evaluations; here nothing is evaluated, so a run of 2,100 train steps
takes minutes. Runs are inline, one thread each, `--jobs` at a time, kept in runs/levers: the same command again
continues. Pong's score is estimated from the points of the last 300 ticks of all environments, 21 (won - lost) /
max(won, lost), which does not lag as the mean of finished games does; other games' is the mean of the last 100. Minutes
are of processor time. Keeps all curves.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import ROOT, Figure, parser, report
from speedyzero.arguments.resolve import resolve
from speedyzero.supervisor.inline import InlineRun, build_run

FOLDER = ROOT / "runs" / "levers"
EVERY = 50  # train steps between two points of a curve
TICKS, GAMES = 300, 100
Curve = dict[str, list[float]]

# One lever of the preset undone in each.
LEVERS: dict[str, list[str]] = {
    "laptop": [],
    "no consistency loss": ["learner.consistency_coefficient=0"],
    "EfficientZero's network, small": ["model.network=efficientzero", "env.image_size_px=48"],
    "policies searched anew": ["reanalyze.policy_share=1"],
    "frame skip 4": ["env.frame_skip=4", "search.discount=0.988053892"],
    "no least range of Q": ["search.min_q_range=1e-8"],
    "targets every 200 train steps": ["target.interval_samples=51200"],
}


def estimate(run: InlineRun, game: str, scores: list[float]) -> float:
    """The score of the agent as it plays now; NaN before it can be told."""
    if game != "Pong":
        return float(np.mean(scores[-GAMES:])) if len(scores) >= GAMES else float("nan")
    shard = run.reanalyzer.shard
    head = int(shard.head.min())
    reward = shard.raw_reward[:, np.arange(max(0, head - TICKS), head) % shard.rows]
    won, lost = int((reward > 0).sum()), int((reward < 0).sum())
    return 21.0 * (won - lost) / max(won, lost, 1)


def play(arguments: argparse.Namespace) -> Curve:
    """One run up to a train step or a minute, whichever comes first; its curve."""
    torch.set_num_threads(1)
    off = ["checkpoint.keep_last=0", "evaluate.interval_train_steps=0", "cpu_threads=1"]
    config = resolve(arguments.preset, arguments.game, arguments.seed, 0, "", [*off, *arguments.settings])
    run, scores, figures = build_run(config), [], {}
    curve: Curve = {"train_step": [], "minute": [], "score": [], "information": [], "correlation": []}
    began_s, limit_s = time.process_time(), 60 * arguments.minutes
    while run.edges.board.train_steps < arguments.train_steps and time.process_time() - began_s < limit_s:
        run.turn()
        for record in run.edges.metrics.drain():
            figures[record.name] = record.value
            if record.name == "actor/game_score":
                scores.append(record.value)
        if run.edges.board.train_steps >= EVERY * (len(curve["score"]) + 1):
            curve["train_step"].append(run.edges.board.train_steps)
            curve["minute"].append((time.process_time() - began_s) / 60)
            curve["score"].append(estimate(run, arguments.game, scores))
            curve["information"].append(figures.get("learner/policy_information", float("nan")))
            curve["correlation"].append(figures.get("actor/value_return_correlation", float("nan")))
    run.close()
    return curve


def area(x: list[float], score: list[float], until: float) -> float:
    """Mean score over x from 0 to `until`, the first known score before it is known."""
    known = np.isfinite(score)
    return float(np.interp(np.linspace(0.0, until, 200), np.array(x)[known], np.array(score)[known]).mean())


def run_all(arms: dict[str, list[str]], arguments: argparse.Namespace) -> dict[str, list[Curve]]:
    """Every arm's curves, seed by seed, of children that run side by side."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    shared = {name: getattr(arguments, name) for name in ("game", "preset", "train_steps", "minutes")}
    options = [word for name, value in shared.items() for word in (f"--{name.replace('_', '-')}", str(value))]

    def one(task: tuple[int, str]) -> Curve:
        seed, name = task
        slug = name.replace(" ", "-").replace("/", "-").replace("'", "")
        out = FOLDER / f"{arguments.game}-{arguments.preset}-{arguments.train_steps}-{slug}-seed{seed}.json"
        if not out.exists():
            argv = [*options, "--seed", str(seed), "--out", str(out), *arms[name], *arguments.settings]
            subprocess.run([sys.executable, "-m", "benchmarks.bench_levers", *argv], cwd=ROOT, check=True)
        return json.loads(out.read_text())

    tasks = [(seed, name) for seed in range(arguments.seeds) for name in arms]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        curves = list(pool.map(one, tasks))
    return {name: [curve for (_, of), curve in zip(tasks, curves, strict=True) if of == name] for name in arms}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--game", default="Pong")
    options.add_argument("--preset", default="laptop")
    options.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    options.add_argument("--train-steps", type=int, default=2_100, help="of each run, and area against them")
    options.add_argument("--minutes", type=float, default=10.0, help="of a core that no run exceeds, and area likewise")
    options.add_argument("--jobs", type=int, default=2, help="runs side by side, a core each")
    options.add_argument("--levers", nargs="*", choices=LEVERS, help="default: all, unless --arm is given")
    options.add_argument("--arm", nargs="+", action="append", default=[], metavar=("NAME", "key=value"))
    options.add_argument("--seed", type=int, help=argparse.SUPPRESS)  # of a child: its seed, and where its curve goes
    options.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options.add_argument("settings", nargs="*", metavar="key=value")
    arguments = options.parse_args()
    if arguments.out:
        arguments.out.write_text(json.dumps(play(arguments)))
        return
    levers = arguments.levers if arguments.levers is not None else ([] if arguments.arm else list(LEVERS))
    arms = {name: LEVERS[name] for name in levers} | {name: settings for name, *settings in arguments.arm}
    found = run_all(arms, arguments)
    figures, name_of = [], f"{arguments.game}, {arguments.preset}"
    for arm, curves in found.items():
        by_steps = [area(curve["train_step"], curve["score"], arguments.train_steps) for curve in curves]
        by_minutes = [area(curve["minute"], curve["score"], arguments.minutes) for curve in curves]
        ms = [6e4 * curve["minute"][-1] / curve["train_step"][-1] for curve in curves]
        figures += [
            Figure.of(f"{name_of}, {arm}: mean score over {arguments.train_steps:,} train steps", by_steps, ""),
            Figure.of(f"{name_of}, {arm}: mean score over {arguments.minutes:g} minutes", by_minutes, ""),
            Figure.of(f"{name_of}, {arm}: score at the end", [curve["score"][-1] for curve in curves], ""),
            Figure.of(f"{name_of}, {arm}: processor time of a train step", ms, "ms"),
        ]
    report("bench_levers", figures, packages=("torch", "numpy", "ale-py"), arms=arms, curves=found)


if __name__ == "__main__":
    main()
