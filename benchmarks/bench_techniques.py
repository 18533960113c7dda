"""SpeedyZero's techniques on small games: what they buy, and the mechanisms measured. Read in docs/techniques.md.

    make bench NAME=techniques ARGS="compare catch-256"      a sweep, then optimisers, refresh and memo over 5 seeds
    make bench NAME=techniques ARGS="trust catch-256"        trust ratios of those runs, with and without the clip
    make bench NAME=techniques ARGS="priorities catch-256"   how stale priorities are, with refresh and without
    make bench NAME=techniques ARGS=memo                     searches a train step on Pong, and the target network's age

Runs lie in runs/techniques and are not made twice; pictures go to docs/figures, raw results to benchmarks/results.
"""

from __future__ import annotations

import argparse

from benchmarks.techniques.comparison import SCENES, SEEDS, compare
from benchmarks.techniques.mechanism import priorities, trust_ratios
from benchmarks.techniques.memo import measure_memo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("compare", "trust", "priorities", "memo"))
    parser.add_argument("scene", nargs="?", choices=tuple(SCENES), help="not for memo")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"0 to N - 1 (default {len(SEEDS)})")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; clocks are fair for one alone (default 1)")
    arguments = parser.parse_args()
    if (arguments.what == "memo") != (arguments.scene is None):
        parser.error("a scene is needed for all but memo")
    seeds = range(arguments.seeds)
    if arguments.what == "compare":
        compare(arguments.scene, seeds=seeds, jobs=arguments.jobs)
    elif arguments.what == "trust":
        trust_ratios(arguments.scene, seeds=seeds)
    elif arguments.what == "priorities":
        priorities(arguments.scene, seeds=seeds)
    else:
        measure_memo()


if __name__ == "__main__":
    main()
