"""SpeedyZero's techniques on small games: what they buy, and the mechanisms. Figures: docs/results/techniques.md.

    make bench NAME=techniques ARGS="optimizers catch-2048"   rates swept, then SGD, LARS, Clipped LARS over 5 seeds
    make bench NAME=techniques ARGS="refresh catch-2048"      Priority Refresh, on against off
    make bench NAME=techniques ARGS="memo catch-2048"         the memo, on against off
    make bench NAME=techniques ARGS="trust catch-2048"        trust ratios in the first's runs, clipped and not
    make bench NAME=techniques ARGS="priorities catch-2048"   how stale priorities are, with refresh and without
    make bench NAME=techniques ARGS="cost catch-2048"         processor time of a train step, by turns
    make bench NAME=techniques ARGS=norms                     root values by running statistics, three ways
    make bench NAME=techniques ARGS=pong                      searches a train step on Pong, target network's age

Runs lie in runs/techniques and are not made twice; pictures go to docs/figures, raw results to benchmarks/results.
"""

from __future__ import annotations

import argparse

from benchmarks.techniques.comparison import MEMO_OFF, REFRESH_OFF, SCENES, SEEDS, compare_optimizers, compare_part
from benchmarks.techniques.cost import measure_cost
from benchmarks.techniques.mechanism import priorities, trust_ratios
from benchmarks.techniques.norms import measure_norms
from benchmarks.techniques.pong import measure_pong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", choices=("optimizers", "refresh", "memo", "trust", "priorities", "cost", "pong", "norms")
    )
    parser.add_argument("scene", nargs="?", choices=tuple(SCENES), help="for all but pong and norms")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help=f"0 to N - 1 (default {len(SEEDS)})")
    parser.add_argument(
        "--rates", nargs="+", help="for optimizers, instead of the scene's; for trust, one instead of the best"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; clocks are fair for one alone (default 1)")
    arguments = parser.parse_args()
    what, scene, seeds, jobs = arguments.what, arguments.scene, range(arguments.seeds), arguments.jobs
    rates = arguments.rates
    if (what in ("pong", "norms")) != (scene is None):
        parser.error("a scene is needed for all but pong and norms")
    actions = {
        "optimizers": lambda: compare_optimizers(scene, rates=rates, seeds=seeds, jobs=jobs),
        "refresh": lambda: compare_part(scene, REFRESH_OFF, seeds=seeds, jobs=jobs),
        "memo": lambda: compare_part(scene, MEMO_OFF, seeds=seeds, jobs=jobs),
        "trust": lambda: trust_ratios(scene, rate=rates[0] if rates else None, seeds=seeds),
        "priorities": lambda: priorities(scene, seeds=seeds),
        "cost": lambda: measure_cost(scene),
        "norms": lambda: measure_norms(seeds),
        "pong": measure_pong,
    }
    actions[what]()


if __name__ == "__main__":
    main()
