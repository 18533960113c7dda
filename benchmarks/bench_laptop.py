"""A game learnt on two cores by the laptop preset: minutes to milestones over seeds, beside PPO's.

    make bench NAME=laptop ARGS="--game Pong --seeds 5"            # trains as a user does, half an hour a seed
    make bench NAME=laptop ARGS="--runs runs/Pong-laptop-*"        # of runs that are there

A run's score at a moment is the mean of its actors' last 20 games, which explore; milestones are fractions of the way
from random play to a human. At the end each agent plays full games by its most visited action and by sampled ones, and
its blind twin plays. Adds a line to results/bench_laptop.jsonl, and draws score against minutes and against frames,
with every run of results/bench_ppo.jsonl of the same game.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common import RESULTS, write_result
from speedyzero.evaluate.command import evaluate_run
from speedyzero.evaluate.human_normalised import reference_scores
from speedyzero.report.reading import RunRecord, read_run

ROOT = Path(__file__).parents[1]
GAMES_AVERAGED = 20
MILESTONES = (0.3, 0.6, 0.87, 1.0)  # of the way from random play to a human: Pong's -10, 0, +10 and 14.6
EPISODES = 16


def trailing_mean(score: np.ndarray) -> np.ndarray:
    """Means of the last GAMES_AVERAGED scores up to each; NaN before there are so many. score: [N]."""
    if len(score) < GAMES_AVERAGED:
        return np.full(len(score), np.nan)
    total = np.cumsum(np.concatenate([[0.0], score]))
    mean = (total[GAMES_AVERAGED:] - total[:-GAMES_AVERAGED]) / GAMES_AVERAGED
    return np.concatenate([np.full(GAMES_AVERAGED - 1, np.nan), mean])


def minutes_to(minute: np.ndarray, mean: np.ndarray, wanted: float) -> float | None:
    """The first minute at which the mean is there; None where it never is. minute, mean: [N]."""
    reached = np.flatnonzero(mean >= wanted)
    return round(float(minute[reached[0]]), 1) if len(reached) else None


def curve_of(run: RunRecord) -> dict[str, list[float]]:
    """Minutes, frames and trailing mean scores of a run's games."""
    games = run.series("actor/game_score")
    frames = run.env_steps_by(games.times_s) * run.config.env.frame_skip
    return {
        "minute": (games.times_s / 60).tolist(),
        "frames": frames.tolist(),
        "mean": trailing_mean(games.values).tolist(),
    }


def summary_of(run: RunRecord, milestones: list[float]) -> dict[str, object]:
    curve = curve_of(run)
    minute, mean = np.array(curve["minute"]), np.array(curve["mean"])
    found: dict[str, object] = {
        "run": run.name,
        "seed": run.config.seed,
        "train_steps": run.train_steps,
        "env_steps": run.env_steps,
        "minutes": round(run.duration_s / 60, 1),
        "minutes_to": {f"{wanted:g}": minutes_to(minute, mean, wanted) for wanted in milestones},
        "at_20_minutes": float(mean[minute <= 20][-1]) if (minute <= 20).any() else None,
        "curve": curve,
    }
    for action in ("most_visited", "sampled"):
        result = evaluate_run(run.run_dir, EPISODES, action=action, blind=action == "sampled")
        found[action] = result.mean
        found["policy_information"] = result.policy_information
    folder = run.run_dir / "evaluations"
    newest = json.loads(max(folder.iterdir(), key=lambda path: path.stat().st_mtime).read_text())
    found["blind_twin"] = newest["blind_twin"]["mean"]
    return found


def ppo_curves(game: str) -> list[dict[str, list[float]]]:
    path = RESULTS / "bench_ppo.jsonl"
    lines = [json.loads(line)["results"] for line in path.read_text().splitlines()] if path.exists() else []
    curves = []
    for one in lines:
        if one["game"] == game:
            games = np.array(one["games"])
            mean = trailing_mean(games[:, 2])
            curves.append({"minute": games[:, 0].tolist(), "frames": games[:, 1].tolist(), "mean": mean.tolist()})
    return curves


def draw(game: str, ours: list[dict[str, list[float]]], peers: list[dict[str, list[float]]], path: Path) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    reference = reference_scores(game)
    for axes, x, unit, label in (
        (figure.add_subplot(1, 2, 1), "minute", 1.0, "minutes on two cores"),
        (figure.add_subplot(1, 2, 2), "frames", 1e6, "million frames"),
    ):
        for name, curves, colour in (
            ("SpeedyZero, laptop", ours, "#0072B2"),
            ("PPO, Stable-Baselines3", peers, "#D55E00"),
        ):
            for i, curve in enumerate(curves):
                axes.plot(
                    np.array(curve[x]) / unit, curve["mean"], color=colour, lw=1.3, label=name if i == 0 else None
                )
        if reference is not None:
            axes.axhline(reference.human, color="#444444", ls="--", lw=1, label=f"human, {reference.human:g}")
            axes.axhline(reference.random, color="#444444", ls=":", lw=1, label=f"random, {reference.random:g}")
        axes.set_xlabel(label)
        axes.set_ylabel(f"{game}, mean of the last {GAMES_AVERAGED} games")
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def train(game: str, seed: int, settings: list[str]) -> Path:
    """One run as a user starts it; its directory."""
    run_dir = ROOT / "runs" / f"bench-laptop-{game}-seed{seed}"
    command = [sys.executable, "train.py", "--game", game, "--preset", "laptop", "--gpus", "0", "--seed", str(seed)]
    subprocess.run([*command, "--run-dir", str(run_dir), *settings], cwd=ROOT, check=True)
    return run_dir


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--seeds", type=int, default=5, help="0 to N - 1")
    parser.add_argument("--runs", type=Path, nargs="+", help="judge these instead of training")
    parser.add_argument("--picture", type=Path, help="default: docs/figures/laptop-GAME.png")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    run_dirs = arguments.runs or [train(arguments.game, seed, arguments.settings) for seed in range(arguments.seeds)]
    runs = [read_run(run_dir) for run_dir in run_dirs]
    game = runs[0].config.env.game
    reference = reference_scores(game)
    milestones = []
    if reference is not None:
        milestones = [round(reference.random + part * (reference.human - reference.random), 1) for part in MILESTONES]
    found = [summary_of(run, milestones) for run in runs]
    for one in found:
        shown = {name: value for name, value in one.items() if name != "curve"}
        print(json.dumps(shown))
    picture = arguments.picture or ROOT / "docs" / "figures" / f"laptop-{game}.png"
    draw(game, [one["curve"] for one in found], ppo_curves(game), picture)  # type: ignore[misc]
    results = {"game": game, "runs": found}
    print(
        f"written to {write_result('bench_laptop', results, packages=('torch', 'numba', 'numpy', 'ale-py'))}, {picture}"
    )


if __name__ == "__main__":
    main()
