"""Whether anything grows with the replay or with the environments: processor time and memory of the host's part.

By positions (10,000 to 300,000 of made-up rows, batch 2048, everything that may be asked for in the memo):

    append     one tick of 16 lanes: rows, eligibility, priorities            per env step
    batch      draw, targets, the learner's priorities of a batch             per train step
    sweep      a new sweep of Priority Refresh put in order, once for         per train step
               each set of published weights (100 train steps)
    record     the reanalyzer's figures, 500 times a run (36 train steps)     per train step
    save       what a checkpoint copies of a shard and its memo               each

By environments (8 to 128 lanes of Catch, played with search): an actor's tick and what of it falls on each lane.

By learner ranks: `make bench NAME=learner_group`.

    make bench NAME=growth            # about a minute; picture in docs/figures/growth.png
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks.bench_host_targets import ACTIONS, BATCH, CONFIG, LANES, filled_shard, known_targets
from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.replay.kept_priorities import kept_priorities
from speedyzero.replay.sampler import Sampler
from speedyzero.replay.shard import Shard
from speedyzero.supervisor.inline import build_run
from speedyzero.topology.records import PriorityRecord, StepRecord

POSITIONS, ENVS = (10_000, 30_000, 100_000, 300_000), (8, 16, 32, 64, 128)
PUBLISHED_EVERY, RECORDED_EVERY = 100, 36  # train steps, of the speedyzero preset
ROUNDS = 7


def tick(rng: np.random.Generator) -> StepRecord:
    off = np.zeros(LANES, np.bool_)
    return StepRecord(
        frame=np.zeros((LANES, 1, 1, 1), np.uint8),
        action=rng.integers(ACTIONS, size=LANES).astype(np.int16),
        reward=np.zeros(LANES, np.float32),
        raw_reward=np.zeros(LANES, np.float32),
        first=off,
        terminal=off,
        truncated=off,
        last=off,
        root_value=np.zeros(LANES, np.float32),
        visit_policy=np.full((LANES, ACTIONS), 1 / ACTIONS, np.float32),
        actor_version=np.zeros(LANES, np.int64),
    )


def cpu_ms(work: Callable[[], object], *, calls: int) -> list[float]:
    """Processor milliseconds of a call, a figure for each round."""
    work()
    found = []
    for _ in range(ROUNDS):
        started_s = time.process_time()
        for _ in range(calls):
            work()
        found.append(1e3 * (time.process_time() - started_s) / calls)
    return found


def by_positions(positions: int) -> dict[str, list[float]]:
    """Processor milliseconds by subject, and memory in bytes a position."""
    rng = np.random.default_rng(0)
    shard = filled_shard(rng, positions=positions)
    sampler, targets = Sampler(shard, CONFIG.replay, seed=0), known_targets(shard)
    drawn = sampler.draw(BATCH)
    judged = PriorityRecord(drawn.lane, drawn.step, 1, rng.exponential(size=BATCH).astype(np.float32))
    record = tick(rng)
    shard.stamp[:, : shard.head[0]] = rng.integers(0, 1000, size=(LANES, shard.head[0]))

    def append() -> None:
        shard.append(record)
        sampler.follow()

    def batch() -> None:
        sample = sampler.draw(BATCH)
        targets.make(sample.lane, sample.step, train_step=0)
        sampler.update(judged)

    def sweep() -> None:
        lane, step, version = sampler.drawn_positions()
        order = np.argsort(version, kind="stable")
        _ = lane[order], step[order]

    def note() -> None:
        _, _, version = sampler.drawn_positions()
        _ = np.median(version), version.max(), (version >= 5).mean()

    memo = targets._memo
    found = {
        "batch": cpu_ms(batch, calls=3),
        "sweep": [ms / PUBLISHED_EVERY for ms in cpu_ms(sweep, calls=1)],
        "record": [ms / RECORDED_EVERY for ms in cpu_ms(note, calls=1)],
        "save": cpu_ms(lambda: (kept_priorities(shard), memo.remembered(0)), calls=1),
        "append": [ms / LANES for ms in cpu_ms(append, calls=12)],
    }
    rows = shard.lanes * shard.rows
    found["bytes a position: rows without frames"] = [row_bytes(shard) / rows]
    trees = sampler._weights._tree.nbytes + sampler._eligible._tree.nbytes
    found["bytes a position: priorities' trees"] = [trees / rows]
    found["bytes a position: memo"] = [memo.nbytes / rows]
    return found


def row_bytes(shard: Shard) -> int:
    arrays = (getattr(shard, name) for name in shard.shape.fields() if name not in ("env_steps", "frame"))
    return sum(array.nbytes for array in arrays)


def by_envs(envs: int) -> dict[str, list[float]]:
    """Processor milliseconds of an actor's tick on Catch, search included, and of each lane's part of it."""
    head = 50 * envs
    settings = [
        "cpu_threads=1",
        f"actor.envs={envs}",
        f"schedule.head_start_env_steps={head}",
        f"schedule.env_steps={400 * envs}",
        "schedule.train_steps=10",
        "replay.capacity_steps=1000000",
    ]
    run = build_run(resolve("catch", "Catch", 0, 0, None, settings))
    while run.edges.board.env_steps < head:
        run.actor.step()
        run.reanalyzer.step()
    for _ in range(3):
        run.turn()
    run.edges.board.train_steps = 10  # all play is due
    times = []
    for _ in range(40):
        started_s = time.process_time()
        moved = run.actor.step()
        times.append(1e3 * (time.process_time() - started_s))
        assert moved, "the actor waits: its figure would be that of waiting"
        while not run.edges.steps.empty:
            for _ in run.edges.steps.drain():
                pass
    run.close()
    return {"tick": times, "of each lane": [one / envs for one in times]}


def report(series: Mapping[int, Mapping[str, list[float]]], unit: str) -> None:
    """A table: subjects down, sizes across, medians with the least and the most."""
    sizes = list(series)
    print(f"| {unit} | " + " | ".join(f"{size:,}" for size in sizes) + " |\n|" + "---|" * (len(sizes) + 1))
    for name in series[sizes[0]]:
        cells = []
        for size in sizes:
            values = series[size][name]
            spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
            cells.append(f"{statistics.median(values):.3g}{spread}")
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def draw(positions: Mapping[int, Mapping[str, list[float]]], envs: Mapping[int, Mapping[str, list[float]]], path: Path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in ("append", "batch", "sweep", "record", "save"):
        left.plot(list(positions), [statistics.median(one[name]) for one in positions.values()], marker="o", label=name)
    left.set(title="processor ms by positions in replay", xlabel="positions", xscale="log", yscale="log")
    left.legend(fontsize="small")
    for name in ("tick", "of each lane"):
        right.plot(list(envs), [statistics.median(one[name]) for one in envs.values()], marker="o", label=name)
    right.set(title="an actor's tick on Catch, processor ms", xlabel="environments", xscale="log", yscale="log")
    right.set_xticks(list(envs), [str(one) for one in envs])
    right.minorticks_off()
    right.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/growth.png"))
    arguments = parser.parse_args()
    positions = {size: by_positions(size) for size in POSITIONS}
    report(positions, "positions; processor ms, or bytes")
    envs = {size: by_envs(size) for size in ENVS}
    report(envs, "environments; processor ms")
    draw(positions, envs, arguments.figure)
    results = {"by_positions": positions, "by_envs": envs, "batch": BATCH}
    print("written to", write_result("bench_growth", results, packages=("torch", "numba", "numpy")))


if __name__ == "__main__":
    main()
