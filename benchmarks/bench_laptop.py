"""A game learnt on two cores by the laptop preset: minutes to milestones over seeds, beside PPO's.

    make bench NAME=laptop ARGS="--game Pong --seeds 5"            # trains as a user does, half an hour a seed
    make bench NAME=laptop ARGS="--runs runs/Pong-laptop-*"        # of runs that are there
    make bench NAME=laptop ARGS="--redraw"                         # only the picture, of the newest line

A run's score at a moment is the mean of its actors' last 20 games, which explore; milestones are fractions of the way
from random play to a human. At the end each agent plays full games by its most visited action and by sampled ones, and
its blind twin plays. Draws score against minutes and against frames, with every run of results/bench_ppo.jsonl of the
same game.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.common import RESULTS, ROOT, Figure, Panel, draw, parser, report
from speedyzero.evaluate.command import evaluate_run
from speedyzero.evaluate.human_normalised import reference_scores
from speedyzero.report.reading import RunRecord, read_run

GAMES_AVERAGED = 20
MILESTONES = (0.3, 0.6, 0.87, 1.0)  # of the way from random play to a human: Pong's -10, 0, +10 and 14.6
EPISODES = 16
Curve = dict[str, list[float]]  # minute, frames, mean


def curve_of(minute: np.ndarray, frames: np.ndarray, score: np.ndarray) -> Curve:
    """Means of the last GAMES_AVERAGED scores up to each game, from the game on at which there are so many. [N]."""
    mean = np.convolve(score, np.ones(GAMES_AVERAGED) / GAMES_AVERAGED, mode="valid")
    first = len(score) - len(mean) if len(score) >= GAMES_AVERAGED else len(score)
    mean = mean[: len(score) - first]
    return {"minute": minute[first:].tolist(), "frames": frames[first:].tolist(), "mean": mean.tolist()}


def curve_of_run(run: RunRecord) -> Curve:
    games = run.series("actor/game_score")
    return curve_of(games.times_s / 60, run.env_steps_by(games.times_s) * run.config.env.frame_skip, games.values)


def results_of(benchmark: str, game: str) -> list[dict]:
    path = RESULTS / f"{benchmark}.jsonl"
    lines = [json.loads(line)["results"] for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["game"] == game]


def draw_curves(game: str, curves: list[Curve], path: Path) -> None:
    reference = reference_scores(game)
    levels = {} if reference is None else {"human": reference.human, "random": reference.random}
    panels = [Panel(f"{game}, mean of the last {GAMES_AVERAGED} games", x, levels=levels) for x in ("minute", "frames")]
    ppo = [curve_of(*np.array(line["games"]).T) for line in results_of("bench_ppo", game)]
    for name, of in (("SpeedyZero, laptop", curves), ("PPO, Stable-Baselines3", ppo)):
        for panel in panels:
            panel.lines += [(name, curve[panel.x_label], curve["mean"]) for curve in of]
    draw(path, *panels)


def minutes_to(curve: Curve, wanted: float) -> float | None:
    """The first minute at which the mean is there; None where it never is."""
    return next((minute for minute, mean in zip(curve["minute"], curve["mean"], strict=True) if mean >= wanted), None)


def final_scores(run: RunRecord) -> dict[str, float]:
    """Of full games by the most visited action, by sampled ones, and of the blind twin; and what the policy knows."""
    most_visited = evaluate_run(run.run_dir, EPISODES, action="most_visited", blind=False)
    sampled = evaluate_run(run.run_dir, EPISODES, action="sampled", blind=True)
    newest = max((run.run_dir / "evaluations").iterdir(), key=lambda path: path.stat().st_mtime)
    return {
        "most visited action": most_visited.mean,
        "sampled action": sampled.mean,
        "blind twin": json.loads(newest.read_text())["blind_twin"]["mean"],
        "policy information, nats": sampled.policy_information,
    }


def train(game: str, seed: int, settings: list[str]) -> Path:
    """One run as a user starts it; its directory."""
    run_dir = ROOT / "runs" / f"bench-laptop-{game}-seed{seed}"
    command = [sys.executable, "train.py", "--game", game, "--preset", "laptop", "--gpus", "0", "--seed", str(seed)]
    subprocess.run([*command, "--run-dir", str(run_dir), *settings], cwd=ROOT, check=True)
    return run_dir


def figures_of(game: str, curves: list[Curve], finals: list[dict[str, float]]) -> list[Figure]:
    figures, reference = [], reference_scores(game)
    for share in MILESTONES if reference is not None else ():
        wanted = round(reference.random + share * (reference.human - reference.random), 1)
        minutes = [found for curve in curves if (found := minutes_to(curve, wanted)) is not None]
        if minutes:
            what = f"{game}: to {wanted:g}, {len(minutes)} of {len(curves)} seeds"
            figures.append(Figure.of(what, minutes, "minutes"))
    at_20 = [[m for minute, m in zip(c["minute"], c["mean"], strict=True) if minute <= 20] for c in curves]
    figures.append(Figure.of(f"{game}: at minute 20", [means[-1] for means in at_20 if means] or [np.nan], ""))
    return figures + [Figure.of(f"{game}: final, {name}", [one[name] for one in finals], "") for name in finals[0]]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--game", default="Pong")
    options.add_argument("--seeds", type=int, default=5, help="0 to N - 1")
    options.add_argument("--runs", type=Path, nargs="+", help="judge these instead of training")
    options.add_argument("--redraw", action="store_true", help="only the picture, of the newest line in results/")
    options.add_argument("--picture", type=Path, help="default: docs/figures/laptop-GAME.png")
    options.add_argument("settings", nargs="*", metavar="key=value")
    arguments = options.parse_args()
    picture = arguments.picture or ROOT / "docs" / "figures" / f"laptop-{arguments.game}.png"
    if arguments.redraw:
        draw_curves(
            arguments.game, [run["curve"] for run in results_of("bench_laptop", arguments.game)[-1]["runs"]], picture
        )
        return
    run_dirs = arguments.runs or [train(arguments.game, seed, arguments.settings) for seed in range(arguments.seeds)]
    runs = [read_run(run_dir) for run_dir in run_dirs]
    game = runs[0].config.env.game
    curves, finals = [curve_of_run(run) for run in runs], [final_scores(run) for run in runs]
    draw_curves(game, curves, picture)
    about = [
        {"run": run.name, "seed": run.config.seed, "train_steps": run.train_steps, "env_steps": run.env_steps}
        | {"minutes": run.duration_s / 60, **final, "curve": curve}
        for run, curve, final in zip(runs, curves, finals, strict=True)
    ]
    packages = ("torch", "numba", "numpy", "ale-py")
    report("bench_laptop", figures_of(game, curves, finals), packages=packages, game=game, runs=about)


if __name__ == "__main__":
    main()
