"""What a batch of 2048 costs the reanalyzer's host beside its searches. `python -m benchmarks.bench_host_targets`

    draw        Sampler.draw: 2048 stratified draws from the priorities of 100,000 positions
    update      Sampler.update: the learner's priorities of a batch
    targets     TargetMaker.make with every search already in the memo: plan, look-ups, value targets, policies
      plan      of these: plan_targets, which walks the lanes
      values    of these: assemble_values
    record      the batch through its ring: put and get, checksums included
    follow      staging one tick of 16 frames for a mirror, and the check of a batch's positions

`all` is draw + update + targets + record. Budget: a learner that trains 20,000 samples/s takes a batch every 102 ms.
Decides whether drawing, eligibility and target assembly belong on the GPU (`docs/results/gpu.md`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks.common import time_by_turns, write_result
from speedyzero.config import Config, LearnerConfig, ScheduleConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.target_maker import MadeTargets, TargetMaker
from speedyzero.reanalyze.targets import assemble_values, plan_targets
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.sampler import Sample, Sampler
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.runtime.wiring import batch_layout
from speedyzero.shm import Ring, RingSpec, Run, remove_run
from speedyzero.topology.records import BatchRecord, PriorityRecord

POSITIONS, LANES, ACTIONS, BATCH = 100_000, 16, 18, 2048
SAMPLES_PER_S = 20_000
CONFIG = Config(learner=LearnerConfig(batch_size=BATCH), schedule=ScheduleConfig(env_steps=POSITIONS))
PIXEL = ObservationSpec((1, 1, 1), np.dtype(np.uint8))  # targets look at no frame
ATARI = ObservationSpec((96, 96, 3), np.dtype(np.uint8))


def make_shard(spec: ObservationSpec, rows: int, *, lanes: int = LANES) -> Shard:
    target = CONFIG.target
    shape = ShardShape(
        lanes, rows, spec, ACTIONS, stack=CONFIG.env.stack, lookahead=target.unroll_steps + target.td_steps
    )
    return Shard(shape)


def filled_shard(rng: np.random.Generator, *, positions: int = POSITIONS, lanes: int = LANES) -> Shard:
    """So many rows in all, with an end every 300 rows or so and sparse rewards; a little room is left."""
    rows = positions // lanes
    shard = make_shard(PIXEL, rows + 100, lanes=lanes)
    shard.reward[:] = (rng.random(shard.reward.shape) < 0.02) * rng.choice([-1.0, 1.0], shard.reward.shape)
    shard.action[:] = rng.integers(ACTIONS, size=shard.action.shape)
    shard.terminal[:] = rng.random(shard.terminal.shape) < 1 / 300
    shard.first[:, 1:] = shard.terminal[:, :-1]
    shard.head[:], shard.ticks[:] = rows, rows
    shard.priority[:, :rows] = rng.exponential(size=(lanes, rows))
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


def record_of(sample: Sample, made: MadeTargets) -> BatchRecord:
    return BatchRecord(
        lane=sample.lane,
        step=sample.step,
        probability=sample.probability,
        action=made.plan.action,
        action_mask=made.plan.action_mask,
        value_target=made.value,
        prefix_target=made.plan.prefix,
        policy_target=made.policy,
        target_version=0,
        made_at=0,
    )


def subjects(run: Run, rng: np.random.Generator) -> dict[str, Callable[[], object]]:
    shard = filled_shard(rng)
    sampler, targets = Sampler(shard, CONFIG.replay, seed=0), known_targets(shard)
    sample = sampler.draw(BATCH)
    made = targets.make(sample.lane, sample.step, train_step=0)
    record = record_of(sample, made)
    td_steps, bootstraps = targets.td_steps(sample.lane, sample.step), np.zeros_like(made.value)
    priorities = PriorityRecord(sample.lane, sample.step, 1, rng.exponential(size=BATCH).astype(np.float32))
    ring = Ring.create(run, RingSpec("batches", batch_layout(BATCH, CONFIG.target.unroll_steps, ACTIONS), 2))
    producer, consumer = ring.producer(), ring.consumer()
    seen = make_shard(ATARI, 60)
    seen.frame[:] = 1
    seen.ticks[:] = 40
    mirror = DeviceMirror(seen, torch.device("cpu"))
    mirror.follow()
    lane, step = rng.integers(LANES, size=BATCH), rng.integers(20, 30, size=BATCH)

    def follow() -> None:
        mirror._seen -= 1  # the newest tick once more
        mirror.follow()
        mirror._require(lane, step, lookahead=CONFIG.target.unroll_steps)

    return {
        "draw": lambda: sampler.draw(BATCH),
        "update": lambda: sampler.update(replace(priorities)),
        "targets": lambda: targets.make(sample.lane, sample.step, train_step=0),
        "plan": lambda: plan_targets(
            shard,
            sample.lane,
            sample.step,
            td_steps,
            unroll_steps=CONFIG.target.unroll_steps,
            discount=CONFIG.search.discount,
            prefix_horizon=CONFIG.search.prefix_horizon,
        ),
        "values": lambda: assemble_values(made.plan, bootstraps),
        "record": lambda: (producer.put(record), consumer.get()),
        "follow": follow,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=41, help="timings of each part (default 41)")
    parser.add_argument("--no-result", action="store_true", help="write no line to benchmarks/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    run = Run.new()
    try:
        spreads = time_by_turns(subjects(run, np.random.default_rng(0)), repeats=args.repeats, turn_s=0.02)
    finally:
        remove_run(run)
    budget_ms = 1e3 * BATCH / SAMPLES_PER_S
    print(f"{POSITIONS:,} positions, batch {BATCH}; budget {budget_ms:.0f} ms a batch")
    print(f"{'part':>8} {'median ms':>10} {'min':>8} {'max':>8} {'cpu ms':>8} {'of budget':>10}")
    for name, spread in spreads.items():
        print(
            f"{name:>8} {spread.median_ms:10.3f} {spread.min_ms:8.3f} {spread.max_ms:8.3f} {spread.cpu_median_ms:8.3f} "
            f"{spread.median_ms / budget_ms:10.2%}"
        )
    all_ms = sum(spreads[name].median_ms for name in ("draw", "update", "targets", "record"))
    print(f"{'all':>8} {all_ms:10.3f} {'':>26} {all_ms / budget_ms:10.2%}")
    if not args.no_result:
        results = {**spreads, "all_median_ms": all_ms, "budget_ms": budget_ms, "share": all_ms / budget_ms}
        print(f"written to {write_result('bench_host_targets', results, packages=('torch', 'numba', 'numpy'))}")


if __name__ == "__main__":
    main()
