"""The Atari 100k command on two games and two seeds, so short that it ends in minutes on a core: it works, no more.

    make bench NAME=atari100k

Not a result of the benchmark: after 600 env steps an agent plays at random. What it goes through is all that the whole
goes through: runs as children, final scores, table, aggregates with intervals, pictures. Interrupted, it goes on.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.common import write_result
from speedyzero.experiments.atari100k.command import AGGREGATES_FILE, RESULTS_FILE, BenchmarkFolder
from speedyzero.experiments.atari100k.plan import Benchmark

OUT = Path("runs/atari100k-reduced")
REDUCED = Benchmark(
    games=("Assault", "Pong"),
    seeds=(0, 1),
    preset="laptop",
    gpus=0,
    settings=(
        "schedule.env_steps=600",
        "schedule.head_start_env_steps=400",
        "schedule.train_steps=40",
        "evaluate.episodes=2",
        "evaluate.num_simulations=4",
        "env.eval_limit_frames=6000",  # one that has learned nothing may play on without an end
    ),
    inline=True,
)
PACKAGES = ("torch", "numba", "numpy", "ale-py")


def main() -> None:
    BenchmarkFolder(REDUCED, OUT).carry_out()
    aggregates = json.loads((OUT / AGGREGATES_FILE).read_bytes())
    without_curves = {name: value for name, value in aggregates.items() if not name.endswith("profile")}
    results = {"results": json.loads((OUT / RESULTS_FILE).read_bytes()), "aggregates": without_curves}
    print("written to", write_result("bench_atari100k", results, packages=PACKAGES))


if __name__ == "__main__":
    main()
