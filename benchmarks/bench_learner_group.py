"""Two learner ranks over gloo: flat all-reduce beside DistributedDataParallel beside one learner with the whole batch.

Two processes with one thread each; the three ways take turns, so that a busy moment hits them all. What the ranks do
is in `learner_rank.py`.

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
from benchmarks.learner_rank import RANKS

ROOT = Path(__file__).parents[1]
SUBJECTS = (("laptop", "Pong"), ("cartpole", "CartPole-v1"))


def seconds_per_update(preset: str, game: str, *words: str) -> dict[str, list[float]]:
    """By way of averaging, one entry a round."""
    with tempfile.TemporaryDirectory() as scratch:
        meeting = Path(scratch) / "meeting"
        meeting.touch(mode=0o600)
        command = [sys.executable, "-m", "benchmarks.learner_rank"]
        ranks = [
            subprocess.Popen(
                [*command, str(rank), str(meeting), preset, game, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            for rank in range(RANKS)
        ]
        outputs = [rank.communicate()[0] for rank in ranks]
        if any(rank.returncode for rank in ranks):
            raise RuntimeError(f"the ranks ended with {[rank.returncode for rank in ranks]}")
    return json.loads(outputs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="timings of each way (default 9)")
    rounds = parser.parse_args().rounds
    results = {}
    print(f"{'network':12} {'way':6} {'ms per update':>14} {'min':>8} {'max':>8}")
    for preset, game in SUBJECTS:
        spreads = {}
        for way, seconds in seconds_per_update(preset, game, "--rounds", str(rounds)).items():
            spreads[way] = Spread.of(seconds, [float("nan")] * len(seconds))
            spread = spreads[way]
            print(f"{preset:12} {way:6} {spread.median_ms:>14.1f} {spread.min_ms:>8.1f} {spread.max_ms:>8.1f}")
        results[preset] = spreads
    path = write_result("bench_learner_group", results, packages=("torch", "numpy"))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
