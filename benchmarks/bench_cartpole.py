"""CartPole-v1 from a cold start to its score, as a user runs it: `python train.py --game CartPole-v1`, seed by seed.

A run's training time is the whole process's wall clock, imports and numba's compilation into an empty cache included,
less its final evaluation. Solved is a mean of 475 or more over the 100 evaluation episodes.

    make bench NAME=cartpole
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import write_result

SOLVED = 475.0
BUDGET_S = 180.0
ROOT = Path(__file__).parents[1]


def train(seed: int, words: list[str]) -> dict[str, float]:
    """One run in a process of its own; its score and its costs."""
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = Path(scratch) / "run"
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(scratch) / "numba")}
        command = [sys.executable, "train.py", "--game", "CartPole-v1", "--gpus", "0", "--seed", str(seed)]
        start_s = time.monotonic()
        subprocess.run(
            [*command, "--run-dir", str(run_dir), *words],
            cwd=ROOT,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall_s = time.monotonic() - start_s
        last = json.loads((run_dir / "scores.json").read_text())["last"]
    return {
        "seed": seed,
        "mean_score": last["mean"],
        "env_steps": last["env_steps"],
        "train_steps": last["step"],
        "training_s": wall_s - last["duration_s"],
        "evaluation_s": last["duration_s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs, seeds 0 upwards (default 5)")
    parser.add_argument("--inline", action="store_true", help="one process instead of several")
    parser.add_argument("settings", nargs="*", help="key=value, as for train.py")
    arguments = parser.parse_args()
    words = [*(["--inline"] if arguments.inline else []), *arguments.settings]
    print(f"{'seed':>4} {'score':>8} {'env steps':>10} {'updates':>8} {'training s':>11} {'evaluation s':>13}")
    runs = []
    for seed in range(arguments.seeds):
        run = train(seed, words)
        runs.append(run)
        print(
            f"{seed:>4} {run['mean_score']:>8.1f} {run['env_steps']:>10} {run['train_steps']:>8} "
            f"{run['training_s']:>11.1f} {run['evaluation_s']:>13.1f}",
            flush=True,
        )
    solved = sum(run["mean_score"] >= SOLVED and run["training_s"] <= BUDGET_S for run in runs)
    print(f"{solved} of {len(runs)} seeds reach {SOLVED:.0f} within {BUDGET_S:.0f} s of training")
    results = {"words": words, "solved": solved, "runs": runs}
    path = write_result("bench_cartpole", results, packages=("torch", "numba", "numpy", "gymnasium"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
