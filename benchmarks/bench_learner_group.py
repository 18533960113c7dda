"""Two and four learner ranks over gloo: flat all-reduce, DistributedDataParallel, and one learner with the whole batch.

A process with one thread for each rank; the three ways take turns, so that a busy moment hits them all. What the ranks
do is in `learner_rank.py`. Processor time is of all ranks together: what a train step costs however many share it, and
the figure to look at where there are more ranks than cores, as one that waits for a core waits for the others too.

    make bench NAME=learner_group
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import Spread, write_result

ROOT = Path(__file__).parents[1]
SUBJECTS = (("laptop", "Pong"), ("cartpole", "CartPole-v1"))
GROUPS = (2, 4)


def spreads_of(ranks: int, preset: str, game: str, *words: str) -> dict[str, Spread]:
    """Of one update, by way of averaging: rank 0's clock, everybody's processor time."""
    with tempfile.TemporaryDirectory() as scratch:
        meeting = Path(scratch) / "meeting"
        meeting.touch(mode=0o600)
        command = [sys.executable, "-m", "benchmarks.learner_rank"]
        group = [
            subprocess.Popen(
                [*command, str(rank), str(ranks), str(meeting), preset, game, *words],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
        outputs = [rank.communicate()[0] for rank in group]
        if any(rank.returncode for rank in group):
            raise RuntimeError(f"the ranks ended with {[rank.returncode for rank in group]}")
    said = [json.loads(output) for output in outputs]
    return {
        way: Spread.of(clock_s, [sum(rounds) for rounds in zip(*(one["cpu_s"][way] for one in said), strict=True)])
        for way, clock_s in said[0]["clock_s"].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="timings of each way (default 9)")
    rounds = parser.parse_args().rounds
    results: dict[str, dict[int, dict[str, Spread]]] = {preset: {} for preset, _ in SUBJECTS}
    print(
        f"{'network':12} {'ranks':>5} {'way':6} {'ms per update':>14} {'min':>8} {'max':>8} {'cpu ms, all ranks':>18}"
    )
    for preset, game in SUBJECTS:
        for ranks in GROUPS:
            results[preset][ranks] = spreads_of(ranks, preset, game, "--rounds", str(rounds))
            for way, spread in results[preset][ranks].items():
                print(
                    f"{preset:12} {ranks:>5} {way:6} {spread.median_ms:>14.1f} {spread.min_ms:>8.1f} "
                    f"{spread.max_ms:>8.1f} {spread.cpu_median_ms:>18.1f}",
                    flush=True,
                )
    path = write_result("bench_learner_group", results, packages=("torch", "numpy"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
