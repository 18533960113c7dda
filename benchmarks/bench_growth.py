"""Whether anything grows with the replay: processor time and memory of the host's part.

By positions (10,000 to 300,000 of made-up rows, batch 2048, everything that may be asked for in the memo):

    append     one tick of 16 lanes: rows, eligibility, priorities            per env step
    batch      draw, targets, the learner's priorities of a batch             per train step
    sweep      a new sweep of Priority Refresh put in order, once for         per train step
               each set of published weights (100 train steps)
    record     the reanalyzer's figures, 500 times a run (36 train steps)     per train step
    save       what a checkpoint copies of a shard and its memo               each

    make bench NAME=growth            # about a minute; picture in docs/figures/growth.png
"""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks.common import Figure, Panel, draw, parser, report
from speedyzero.config import Config, LearnerConfig, ScheduleConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.target_maker import TargetMaker
from speedyzero.replay.kept_priorities import kept_priorities
from speedyzero.replay.sampler import Sampler
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.topology.records import PriorityRecord, StepRecord

POSITIONS = (10_000, 30_000, 100_000, 300_000)
LANES, ACTIONS, BATCH = 16, 18, 2048
CONFIG = Config(learner=LearnerConfig(batch_size=BATCH), schedule=ScheduleConfig(env_steps=100_000))
PIXEL = ObservationSpec((1, 1, 1), np.dtype(np.uint8))  # targets look at no frame
PUBLISHED_EVERY, RECORDED_EVERY = 100, 36  # train steps, of the speedyzero preset
ROUNDS = 7
FLAT = ("append", "batch")  # what may not grow


def filled_shard(rng: np.random.Generator, positions: int) -> Shard:
    """So many rows in all, with an end every 300 rows or so and sparse rewards; a little room is left."""
    rows, target = positions // LANES, CONFIG.target
    lookahead = target.unroll_steps + target.td_steps
    shard = Shard(ShardShape(LANES, rows + 100, PIXEL, ACTIONS, stack=CONFIG.env.stack, lookahead=lookahead))
    shard.reward[:] = (rng.random(shard.reward.shape) < 0.02) * rng.choice([-1.0, 1.0], shard.reward.shape)
    shard.action[:] = rng.integers(ACTIONS, size=shard.action.shape)
    shard.terminal[:] = rng.random(shard.terminal.shape) < 1 / 300
    shard.first[:, 1:] = shard.terminal[:, :-1]
    shard.head[:], shard.ticks[:] = rows, rows
    shard.priority[:, :rows] = rng.exponential(size=(LANES, rows))
    return shard


def knowing_agent() -> SimpleNamespace:
    """One that answers at once: what remains is the host's part."""

    def outputs(count: int) -> SimpleNamespace:
        return SimpleNamespace(value=torch.zeros(count), policy=torch.full((count, ACTIONS), 1 / ACTIONS))

    return SimpleNamespace(
        version=0,
        num_actions=ACTIONS,
        root_from=lambda observation: outputs(len(observation)),
        search_from=lambda root, **_: outputs(len(root.value)),
    )


def known_targets(shard: Shard) -> TargetMaker:
    """Targets with everything that they may ask for in the memo."""
    agent = knowing_agent()
    frames = SimpleNamespace(stacks=lambda lane, step: torch.zeros(len(lane), 1))
    memo = TargetMemo(shard, CONFIG.reanalyze, CONFIG.search, num_actions=ACTIONS, seed=0, frames=frames)
    for lane in range(shard.lanes):
        step = np.arange(shard.head[lane])
        memo.policies(agent, np.full(len(step), lane), step)
    return TargetMaker(CONFIG, shard, memo, agent, shards=1)


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
    shard = filled_shard(rng, positions)
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


def figures_of(found: Mapping[int, Mapping[str, list[float]]]) -> list[Figure]:
    """Every subject at the smallest and at the largest size."""
    figures = []
    for name in found[POSITIONS[0]]:
        for size in (POSITIONS[0], POSITIONS[-1]):
            unit = "" if name.startswith("bytes") else "ms of processor time"
            wanted = "flat" if name in FLAT and size == POSITIONS[-1] else ""
            figures.append(Figure.of(f"{name}, {size:,} positions", found[size][name], unit, wanted))
    return figures


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--figure", type=Path, default=Path("docs/figures/growth.png"))
    arguments = options.parse_args()
    found = {size: by_positions(size) for size in POSITIONS}
    panel = Panel("processor ms by positions in replay", "positions", is_log=True)
    for name in ("append", "batch", "sweep", "record", "save"):
        panel.lines.append((name, POSITIONS, [statistics.median(found[size][name]) for size in POSITIONS]))
    draw(arguments.figure, panel)
    report("bench_growth", figures_of(found), packages=("torch", "numba", "numpy"), by_positions=found)


if __name__ == "__main__":
    main()
