"""CartPole on this CPU: env steps/s collected, updates/s of the learner alone, and of the whole loop.

The setting is the one LightZero's EfficientZero was measured in on the same kind of machine (the design's performance
page): an MLP, 8 environments, 25 simulations, batch 256. Its figures there, about 117 env steps/s and 2.2 updates/s,
are printed beside ours; they are quoted, not run here.
"""

from __future__ import annotations

import argparse

from benchmarks.common import Spread, time_by_turns, write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.supervisor.inline import InlineRun, build_run

SETTINGS = [
    "actor.envs=8",
    "search.num_simulations=25",
    "learner.batch_size=256",
    "schedule.env_steps=100000",
    "schedule.train_steps=25000",
]
TICKS, UPDATES, LOOP_UPDATES = 100, 25, 25
LIGHTZERO_PER_S = {"collect": 117.0, "learner": 2.2}
TARGET_PER_S = {"collect": 1170.0, "learner": 22.0}


def collector() -> InlineRun:
    """A run whose actor is never held back; its first search compiles here."""
    run = build_run(
        resolve("cartpole", "CartPole-v1", 0, 0, None, [*SETTINGS, "schedule.pacing_slack_env_steps=90000"])
    )
    while run.edges.board.env_steps < run.config.schedule.head_start_env_steps + run.config.actor.envs:
        run.actor.step()
        run.reanalyzer.step()
    return run


def collect(run: InlineRun) -> None:
    for _ in range(TICKS):
        run.actor.step()
        run.edges.steps.get()
        while not run.edges.metrics.empty:
            run.edges.metrics.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="timings of each subject (default 15)")
    repeats = parser.parse_args().repeats
    playing = collector()
    learning = build_run(resolve("cartpole", "CartPole-v1", 0, 0, None, SETTINGS))
    while learning.edges.board.train_steps < 200:  # a replay and a memo as in the middle of a run
        turn(learning)
    while learning.edges.batches.empty:
        learning.reanalyzer.step()
    batch = learning.edges.batches.get()

    def train() -> None:
        for _ in range(UPDATES):
            learning.learner.train_on(batch, 200)

    def loop() -> None:
        goal = learning.edges.board.train_steps + LOOP_UPDATES
        while learning.edges.board.train_steps < goal:
            turn(learning)

    spreads = time_by_turns({"collect": lambda: collect(playing), "learner": train, "loop": loop}, repeats=repeats)
    per_call = {"collect": TICKS * playing.config.actor.envs, "learner": UPDATES, "loop": LOOP_UPDATES}
    units = {"collect": "env steps/s", "learner": "updates/s", "loop": "updates/s"}
    print(f"{'subject':>8} {'median':>8} {'min':>8} {'max':>8} {'unit':>12} {'wanted':>8} {'LightZero':>10}")
    results = {}
    for name, spread in spreads.items():
        rate = rates(spread, per_call[name])
        results[name] = {**rate, "unit": units[name], "repeats": spread.repeats}
        wanted, peer = TARGET_PER_S.get(name, ""), LIGHTZERO_PER_S.get(name, "")
        print(
            f"{name:>8} {rate['median']:8.1f} {rate['min']:8.1f} {rate['max']:8.1f} {units[name]:>12} "
            f"{wanted:>8} {peer:>10}"
        )
    path = write_result("bench_cpu_training", results, packages=("torch", "numba", "numpy", "gymnasium"))
    print(f"written to {path}")


def turn(run: InlineRun) -> None:
    run.turn()
    while not run.edges.metrics.empty:
        run.edges.metrics.get()


def rates(spread: Spread, count: int) -> dict[str, float]:
    """Events per second from times in milliseconds."""
    return {
        "median": 1e3 * count / spread.median_ms,
        "min": 1e3 * count / spread.max_ms,
        "max": 1e3 * count / spread.min_ms,
    }


if __name__ == "__main__":
    main()
