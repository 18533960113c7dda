"""An Atari game learnt on a CPU in minutes: the `laptop` preset, seed by seed, beside players that do not look.

The game is UpNDown or Assault, named on the command line before anything is trained. Every score is of the evaluator's
protocol (full games, the same episodes for everybody, raw rewards): random play and each constant action over as many
episodes as an agent's last evaluation. Clear learning is a mean over the seeds above random's interval and above the
best constant action. A run's time is the whole process's wall clock, from the command to its end.

    make bench NAME=atari_cpu                       # baselines, then 3 seeds, one after the other
    make bench NAME=atari_cpu ARGS="--seeds 0"      # the baselines alone
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import write_result
from benchmarks.fixed_players import baselines
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.observe.metrics import read_metrics
from speedyzero.resolve import resolve

ROOT = Path(__file__).parents[1]
EPISODES = 32
BUDGET_S = 3600.0


def train(game: str, seed: int, run_dir: Path, words: list[str]) -> dict[str, object]:
    """One run from the command line; its scores over train steps and its costs."""
    command = [sys.executable, "train.py", "--game", game, "--preset", "laptop", "--gpus", "0", "--seed", str(seed)]
    started_s = time.monotonic()
    subprocess.run(
        [*command, "--run-dir", str(run_dir), f"evaluate.episodes={EPISODES}", *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall_s = time.monotonic() - started_s
    last = json.loads((run_dir / "scores.json").read_text())["last"]
    metrics = read_metrics(run_dir)
    curve = metrics["evaluate/mean_score"]
    games = metrics.get("actor/game_score")
    return {
        "seed": seed,
        "mean_score": last["mean"],
        "ci95": last["ci95"],
        "human_normalised": last["human_normalised"],
        "env_steps": last["env_steps"],
        "train_steps": last["step"],
        "wall_s": wall_s,
        "evaluations": list(zip(curve.steps.tolist(), curve.values.tolist(), strict=True)),
        "games_played": [] if games is None else list(zip(games.steps.tolist(), games.values.tolist(), strict=True)),
    }


def draw(game: str, runs: list[dict], fixed: dict[str, EvaluationResult], path: Path) -> None:
    """Evaluations of every seed over train steps, with random play's interval and the best constant action."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    for run in runs:
        steps, scores = zip(*run["evaluations"], strict=True)
        axes.plot(
            steps, scores, marker="o", markersize=3, label=f"seed {run['seed']}, {run['wall_s'] / 60:.0f} minutes"
        )
    best = best_constant(fixed)
    axes.axhline(fixed[best].mean, color="#444444", linestyle="--", label=f"best constant action ({best})")
    axes.axhspan(*fixed["random"].ci95, color="#999999", alpha=0.5, label="random play, 95% interval")
    axes.set(
        xlabel="train steps", ylabel="mean score of full games (raw)", title=f"{game}, `laptop` preset, 2 CPU cores"
    )
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def best_constant(fixed: dict[str, EvaluationResult]) -> str:
    return max((name for name in fixed if name != "random"), key=lambda name: fixed[name].mean)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="UpNDown", choices=("UpNDown", "Assault"))
    parser.add_argument("--seeds", type=int, default=3, help="runs, seeds 0 upwards (default 3)")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "figures" / "atari-cpu.png")
    parser.add_argument("settings", nargs="*", help="key=value, as for train.py; or --inline")
    arguments = parser.parse_args()
    config = resolve("laptop", arguments.game, 0, 0, None, [])
    fixed = baselines(config.env, episodes=EPISODES, parallel_envs=EPISODES, seed=0)
    for name, result in fixed.items():
        print(f"{name:20} {result}", flush=True)
    runs: list[dict] = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(arguments.seeds):
            runs.append(train(arguments.game, seed, Path(scratch) / str(seed), arguments.settings))
            run = runs[-1]
            print(
                f"seed {seed}: {run['mean_score']:.1f} {run['ci95']} after {run['train_steps']} train steps, ", end=""
            )
            print(f"{run['env_steps']} env steps, {run['wall_s'] / 60:.1f} minutes; {run['evaluations']}", flush=True)
    results = {
        "game": arguments.game,
        "words": arguments.settings,
        "baselines": {name: {"mean": one.mean, "ci95": one.ci95, "std": one.std} for name, one in fixed.items()},
        "runs": runs,
    }
    print(f"written to {write_result('bench_atari_cpu', results, packages=('torch', 'numba', 'numpy', 'ale-py'))}")
    if not runs:
        return 0
    draw(arguments.game, runs, fixed, arguments.figure)
    mean = statistics.fmean(run["mean_score"] for run in runs)
    best, random_ci95 = fixed[best_constant(fixed)].mean, fixed["random"].ci95
    assert random_ci95 is not None
    slowest_s = max(run["wall_s"] for run in runs)
    print(f"mean of {len(runs)} seeds {mean:.1f}; random up to {random_ci95[1]:.1f}; best constant action {best:.1f}; ")
    print(f"slowest run {slowest_s / 60:.1f} minutes")
    return 0 if mean > max(best, random_ci95[1]) and slowest_s <= BUDGET_S else 1


if __name__ == "__main__":
    sys.exit(main())
