"""Catch with one part of the algorithm switched off at a time: what does each buy?

default         search, reanalysis and unroll as in the `catch` preset
no search       one simulation: the policy target is the first pick of the prior
no reanalysis   policy targets are the actor's own visit fractions, from when the position was played
no unroll       one model step per sample, so the model is never trained on its own outputs

make bench NAME=catch_ablation
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import read_scores
from speedyzero.observe.metrics import read_metrics
from speedyzero.supervisor.train import train

VARIANTS = {
    "default": [],
    "no search": ["search.num_simulations=1"],
    "no reanalysis": ["reanalyze.policy_share=0"],
    "one step": ["target.unroll_steps=1"],
    "no unroll": ["target.unroll_steps=0"],
}


def score(seed: int, settings: list[str]) -> tuple[float, list[float]]:
    """Mean score of 100 games after training, and the evaluations on the way."""
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = Path(scratch) / "run"
        every = ["evaluate.interval_train_steps=200", "evaluate.interval_episodes=100", "evaluate.video=false"]
        train(resolve("catch", "Catch", seed, 0, str(run_dir), [*every, *settings]))
        curve = read_metrics(run_dir)["evaluate/mean_score"]
        return read_scores(run_dir)["last"]["mean"], [float(value) for value in curve.values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant (default 3)")
    parser.add_argument("settings", nargs="*", help="key=value for every variant")
    arguments = parser.parse_args()
    results = {}
    for name, settings in VARIANTS.items():
        runs = [score(seed, [*settings, *arguments.settings]) for seed in range(arguments.seeds)]
        results[name] = {"scores": [run[0] for run in runs], "curves": [run[1] for run in runs]}
    print(f"\n{'variant':>14} {'mean':>6}  scores by seed; mean curve, every 200 train steps")
    for name, result in results.items():
        curve = [statistics.mean(values) for values in zip(*result["curves"], strict=True)]
        scores = " ".join(f"{value:5.2f}" for value in result["scores"])
        print(
            f"{name:>14} {statistics.mean(result['scores']):6.2f}  {scores};  " + " ".join(f"{v:5.2f}" for v in curve)
        )
    path = write_result("bench_catch_ablation", results, packages=("torch", "numba", "numpy"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
