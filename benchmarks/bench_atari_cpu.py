"""An Atari game learnt on a CPU in minutes: the `laptop` preset, seed by seed, beside players that do not look.

The game is UpNDown or Assault, named on the command line before anything is trained. Every score is of the evaluator's
protocol (full games, the same episodes for everybody, raw rewards): random play and each constant action over as many
episodes as an agent's last evaluation. Clear learning is a mean over the seeds above random's interval and above the
best constant action.

    make bench NAME=atari_cpu                                        # baselines, then 3 seeds, one after the other
    make bench NAME=atari_cpu ARGS="--words=--inline"                # each run in one process: again to the bit
    make bench NAME=atari_cpu ARGS="--seeds 0"                       # the baselines alone
    make bench NAME=atari_cpu ARGS="--runs runs/UpNDown-laptop-*"    # runs that were made before, by the same settings

Minutes are a run's wall clock from its first figure to its last, the final evaluation included; core minutes the
processor time of its processes, which tell what a shared machine hides. A run that was scored over fewer episodes is
scored again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import write_result
from benchmarks.fixed_players import baselines
from speedyzero.config import get
from speedyzero.evaluate.command import evaluate_run
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.observe.metrics import read_metrics
from speedyzero.resolve import load_config, resolve

ROOT = Path(__file__).parents[1]
EPISODES = 16
BUDGET_MINUTES = 60.0
# Games are cut off after 12,000 frames (200 s), as while training: an agent that has learnt may survive for 108,000,
# which would cost hours to score. What a game would have had beyond is lost, so scores are lower limits.
LIMIT = "env.eval_limit_frames=12000"
SETTINGS = (
    "schedule.train_steps=1500",
    "schedule.env_steps=18000",
    "evaluate.interval_train_steps=500",
    "evaluate.interval_episodes=8",
    f"evaluate.episodes={EPISODES}",
    f"evaluate.parallel_envs={EPISODES}",
    "evaluate.action=sampled",
    "evaluate.video=false",
    LIMIT,
)


# What has been tuned, kept with each run: its preset may have changed since.
TUNED = (
    "env.frame_skip",
    "model.norm",
    "model.action_encoding",
    "search.min_q_range",
    "schedule.env_steps",
    "schedule.train_steps",
    "target.td_steps",
    "target.interval_train_steps",
    "learner.batch_size",
    "learner.value_coefficient",
    "optimizer.learning_rate",
    "optimizer.decay_fraction",
)


def train(game: str, seed: int, run_dir: Path, words: list[str]) -> None:
    """One run from the command line."""
    command = [sys.executable, "train.py", "--game", game, "--preset", "laptop", "--gpus", "0", "--seed", str(seed)]
    subprocess.run(
        [*command, "--run-dir", str(run_dir), *SETTINGS, *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def outcome(run_dir: Path) -> dict[str, Any]:
    """A finished run's scores over train steps, and its costs."""
    config, metrics = load_config(run_dir / "config.yaml"), read_metrics(run_dir)
    last = json.loads((run_dir / "scores.json").read_text())["last"]
    curve, games = metrics["evaluate/mean_score"], metrics["actor/game_score"]
    points = list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
    if last["episodes"] >= EPISODES:
        score = {name: last[name] for name in ("mean", "ci95", "human_normalised")}
    else:
        found = evaluate_run(run_dir, EPISODES)
        score = {"mean": found.mean, "ci95": found.ci95, "human_normalised": found.human_normalised}
    cpu_s = [series.values[-1] for name, series in metrics.items() if name.startswith("time/") and "_cpu_s" in name]
    return {
        "seed": config.seed,
        **score,
        "env_steps": last["env_steps"],
        "train_steps": last["step"],
        "minutes": max(series.times_s[-1] for series in metrics.values()) / 60,
        "core_minutes": sum(cpu_s) / 60 if cpu_s else None,  # a run in one process does not tell
        "settings": {path: get(config, path) for path in TUNED},
        "evaluations": [*points[:-1], (last["step"], score["mean"])],
        "games_played": list(zip(games.steps.tolist(), games.values.tolist(), strict=True)),
    }


def draw(game: str, runs: list[dict[str, Any]], fixed: dict[str, EvaluationResult], path: Path) -> None:
    """Over train steps: evaluations of every seed (pale: games that its actors played), beside the fixed players."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    for run in runs:
        steps, scores = zip(*run["evaluations"], strict=True)
        label = f"seed {run['seed']}, {run['minutes']:.0f} minutes"
        (line,) = axes.plot(steps, scores, marker="o", markersize=4, label=label)
        played_at, played = zip(*run["games_played"], strict=True)
        axes.plot(played_at, played, ".", color=line.get_color(), alpha=0.35, markersize=4)
    best = best_constant(fixed)
    axes.axhline(fixed[best].mean, color="#444444", linestyle="--", label=f"best constant action ({best})")
    axes.axhspan(*fixed["random"].ci95, color="#999999", alpha=0.5, label="random play, 95% interval")
    axes.set(
        xlabel="train steps", ylabel="mean score of full games (raw)", title=f"{game}, `laptop` preset, 2 CPU cores"
    )
    axes.set(xlim=(0, None), ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def best_constant(fixed: dict[str, EvaluationResult]) -> str:
    return max((name for name in fixed if name != "random"), key=lambda name: fixed[name].mean)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="UpNDown", choices=("UpNDown", "Assault"))
    parser.add_argument("--seeds", type=int, default=3, help="runs, seeds 0 upwards (default 3)")
    parser.add_argument("--runs", type=Path, nargs="+", help="directories of runs that were made before")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "atari-cpu.png")
    parser.add_argument("--words", nargs="*", default=[], help="more for train.py: key=value, --inline")
    arguments = parser.parse_args()
    config = resolve("laptop", arguments.game, 0, 0, None, [LIMIT])
    fixed = {}
    for name, result in baselines(config.env, episodes=EPISODES, parallel_envs=EPISODES, seed=0):
        fixed[name] = result
        print(f"{name:20} {result}", flush=True)
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for run_dir in arguments.runs or (Path(scratch) / str(seed) for seed in range(arguments.seeds)):
            if not arguments.runs:
                train(arguments.game, int(run_dir.name), run_dir, arguments.words)
            runs.append(outcome(run_dir))
            run = runs[-1]
            print(
                f"seed {run['seed']}: {run['mean']:.1f} {run['ci95']} after {run['train_steps']} train steps, ", end=""
            )
            cores = f", {run['core_minutes']:.1f} core minutes" if run["core_minutes"] is not None else ""
            print(f"{run['env_steps']} env steps, {run['minutes']:.1f} minutes{cores}")
            print(f"    {run['evaluations']}", flush=True)
    results = {
        "game": arguments.game,
        "settings": SETTINGS,
        "words": arguments.words,
        "baselines": {name: {"mean": one.mean, "ci95": one.ci95, "std": one.std} for name, one in fixed.items()},
        "runs": runs,
    }
    print(f"written to {write_result('bench_atari_cpu', results, packages=('torch', 'numba', 'numpy', 'ale-py'))}")
    if not runs:
        return 0
    draw(arguments.game, runs, fixed, arguments.figure)
    mean, slowest = statistics.fmean(run["mean"] for run in runs), max(run["minutes"] for run in runs)
    best, random_ci95 = fixed[best_constant(fixed)].mean, fixed["random"].ci95
    assert random_ci95 is not None
    print(f"mean of {len(runs)} seeds {mean:.1f}; random up to {random_ci95[1]:.1f}; best constant action {best:.1f}")
    print(f"the slowest run took {slowest:.1f} minutes")
    return 0 if mean > max(best, random_ci95[1]) and slowest <= BUDGET_MINUTES else 1


if __name__ == "__main__":
    sys.exit(main())
