"""What a setting is worth to the laptop agent: learning curves of a game with one thing changed at a time, over seeds.

    make bench NAME=levers ARGS="--seeds 3"                                   # the preset's own levers, on Pong
    make bench NAME=levers ARGS="--arm 'publish rarely' learner.publish_interval_samples=25600 --seeds 3"

Runs are inline, one thread each, `--jobs` at a time, kept in runs/levers: a command that was cut short goes on. Pong's
score is estimated from the points of the last 300 ticks of all environments, 21 (won - lost) / max(won, lost), which
does not lag as the mean of finished games does; other games' is the mean of the last 100 finished ones. Minutes are of
processor time. Adds a line with all curves to results/bench_levers.jsonl.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.model import blocks, input_norm, nature_cnn
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.supervisor.inline import InlineRun, build_run

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "levers"
EVERY = 50  # train steps between two points of a curve
TICKS, GAMES = 300, 100


def _raw_input() -> None:
    nature_cnn.InputNorm = lambda shape: nn.Identity()  # type: ignore[misc,assignment]


def _layer_norm_projector() -> None:
    linear = blocks.linear_norm

    def with_layer_norm(in_features: int, out_features: int, *, folded: bool) -> blocks.NormedLayer:
        layer = linear(in_features, out_features, folded=folded)
        layer.norm = nn.LayerNorm(out_features)
        return layer

    blocks.linear_norm = with_layer_norm


def _fresh_noise() -> None:
    drawn = itertools.count()
    keyed = TargetMemo._noise
    TargetMemo._noise = lambda self, lane, step, version, actions: keyed(  # type: ignore[method-assign]
        self, lane, step, version + (next(drawn) << 32), actions
    )


def _input_followed_for(train_steps: int) -> Callable[[], None]:
    def patch() -> None:
        input_norm.FOLLOWED_STEPS = train_steps

    return patch


@dataclass(frozen=True)
class Arm:
    settings: tuple[str, ...] = ()
    patch: Callable[[], None] = field(default=lambda: None)  # what no setting switches off


# One lever of the preset undone in each.
LEVERS = {
    "laptop": Arm(),
    "input not standardised": Arm(patch=_raw_input),
    "layer norm in the projector": Arm(patch=_layer_norm_projector),
    "no consistency loss": Arm(("learner.consistency_coefficient=0",)),
    "EfficientZero's network, small": Arm(("model.network=efficientzero", "env.image_size_px=48")),
    "policies searched anew": Arm(("reanalyze.policy_share=1",)),
    "frame skip 4": Arm(("env.frame_skip=4", "search.discount=0.988053892")),
    "no least range of Q": Arm(("search.min_q_range=1e-8",)),
    "targets every 200 train steps": Arm(("target.interval_samples=51200",)),
}
# Compared where --levers names them.
OTHERS = {
    "input statistics of 50 train steps": Arm(patch=_input_followed_for(50)),
    "input statistics that always move": Arm(patch=_input_followed_for(10**9)),
    "searched anew, one draw of root noise a target network": Arm(("reanalyze.policy_share=1",)),
    "searched anew, fresh root noise": Arm(("reanalyze.policy_share=1", "reanalyze.memo=false"), _fresh_noise),
}


def estimate(run: InlineRun, game: str, scores: list[float]) -> float:
    """The score of the agent as it plays now; NaN while nothing tells."""
    if game != "Pong":
        return float(np.mean(scores[-GAMES:])) if len(scores) >= GAMES else float("nan")
    shard = run.reanalyzer.shard
    head = int(shard.head.min())
    reward = shard.raw_reward[:, np.arange(max(0, head - TICKS), head) % shard.rows]
    won, lost = int((reward > 0).sum()), int((reward < 0).sum())
    return 21.0 * (won - lost) / max(won, lost, 1)


def play(
    arm: Arm, preset: str, game: str, seed: int, settings: list[str], *, train_steps: int, minutes: float
) -> dict[str, list[float]]:
    """One run up to a train step or a minute, whichever comes first; its curve."""
    arm.patch()
    torch.set_num_threads(1)
    off = ["checkpoint.keep_last=0", "evaluate.interval_train_steps=0", "cpu_threads=1"]
    config = resolve(preset, game, seed, 0, "", [*off, *arm.settings, *settings])
    run, scores, figures = build_run(config), [], {}
    curve: dict[str, list[float]] = {"train_step": [], "minute": [], "score": [], "information": [], "correlation": []}
    began_s = time.process_time()
    while run.edges.board.train_steps < train_steps and time.process_time() - began_s < 60 * minutes:
        run.turn()
        for record in run.edges.metrics.drain():
            figures[record.name] = record.value
            if record.name == "actor/game_score":
                scores.append(record.value)
        step = run.edges.board.train_steps
        if step >= EVERY * (len(curve["score"]) + 1):
            curve["train_step"].append(step)
            curve["minute"].append((time.process_time() - began_s) / 60)
            curve["score"].append(estimate(run, game, scores))
            curve["information"].append(figures.get("learner/policy_information", float("nan")))
            curve["correlation"].append(figures.get("actor/value_return_correlation", float("nan")))
    run.close()
    return curve


def area(x: list[float], score: list[float], until: float) -> float:
    """Mean score over x from 0 to `until`, the first known score before it is known."""
    known = np.isfinite(score)
    grid = np.linspace(0.0, until, 200)
    return float(np.interp(grid, np.array(x)[known], np.array(score)[known]).mean())


def child(arguments: argparse.Namespace) -> None:
    limits = {"train_steps": arguments.train_steps, "minutes": arguments.minutes}
    arm = (LEVERS | OTHERS).get(arguments.only, Arm())
    curve = play(arm, arguments.preset, arguments.game, arguments.seed, arguments.settings, **limits)
    arguments.out.write_text(json.dumps(curve))


def run_all(arms: dict[str, list[str]], arguments: argparse.Namespace) -> dict[str, list[dict[str, list[float]]]]:
    """Every arm's curves, seed by seed, of children that run side by side."""
    FOLDER.mkdir(parents=True, exist_ok=True)

    def one(task: tuple[int, str]) -> dict[str, list[float]]:
        seed, name = task
        slug = name.replace(" ", "-").replace("/", "-").replace("'", "")
        out = FOLDER / f"{arguments.game}-{arguments.preset}-{arguments.train_steps}-{slug}-seed{seed}.json"
        if not out.exists():
            options = ["--only", name, "--seed", str(seed), "--out", str(out)]
            options += ["--game", arguments.game, "--preset", arguments.preset]
            limits = ["--train-steps", str(arguments.train_steps), "--minutes", str(arguments.minutes)]
            command = [sys.executable, "-m", "benchmarks.bench_levers", *options, *limits, *arms[name]]
            subprocess.run([*command, *arguments.settings], cwd=ROOT, check=True)
        return json.loads(out.read_text())

    tasks = [(seed, name) for seed in range(arguments.seeds) for name in arms]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        curves = list(pool.map(one, tasks))
    return {name: [curve for (_, of), curve in zip(tasks, curves, strict=True) if of == name] for name in arms}


def summary_of(curves: list[dict[str, list[float]]], *, until_step: int, until_minute: float) -> dict[str, object]:
    by_step = [area(curve["train_step"], curve["score"], until_step) for curve in curves]
    by_minute = [area(curve["minute"], curve["score"], until_minute) for curve in curves]
    return {
        "area_by_train_steps": by_step,
        "interval": bootstrap_ci95(np.array(by_step)),
        "area_by_minutes": by_minute,
        "end": [curve["score"][-1] for curve in curves],
        "minutes": [curve["minute"][-1] for curve in curves],
        "information": [curve["information"][-1] for curve in curves],
        "correlation": [curve["correlation"][-1] for curve in curves],
        "curves": curves,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    parser.add_argument("--train-steps", type=int, default=2_100, help="of each run, and area against them")
    parser.add_argument("--minutes", type=float, default=10.0, help="of a core that no run exceeds, and area likewise")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, a core each")
    parser.add_argument("--levers", nargs="*", choices=LEVERS | OTHERS, help="default: all, unless --arm is given")
    parser.add_argument("--arm", nargs="+", action="append", default=[], metavar=("NAME", "key=value"))
    parser.add_argument("--only", help=argparse.SUPPRESS)  # a child: this arm, this seed, and where its curve goes
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    if arguments.only:
        return child(arguments)
    levers = arguments.levers if arguments.levers is not None else ([] if arguments.arm else list(LEVERS))
    arms = {name: [] for name in levers} | {name: settings for name, *settings in arguments.arm}
    curves = run_all(arms, arguments)
    limits = {"until_step": arguments.train_steps, "until_minute": arguments.minutes}
    found = {name: summary_of(of, **limits) for name, of in curves.items()}
    print(f"{'arm':34} area by train steps (each seed){'':14} by minutes   end    ms a train step")
    for name, one in found.items():
        areas = " ".join(f"{value:.1f}" for value in one["area_by_train_steps"])
        milliseconds = 6e4 * np.mean(one["minutes"]) / arguments.train_steps
        print(
            f"{name:34} {np.mean(one['area_by_train_steps']):6.1f} ({areas}){'':6} "
            f"{np.mean(one['area_by_minutes']):6.1f} {np.mean(one['end']):6.1f} {milliseconds:6.0f}"
        )
    results = {"game": arguments.game, "train_steps": arguments.train_steps, "arms": found}
    print(f"written to {write_result('bench_levers', results, packages=('torch', 'numpy', 'ale-py'))}")


if __name__ == "__main__":
    main()
