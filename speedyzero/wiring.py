"""Every edge of the machine on one page: who sends what to whom, and what it takes in shared memory.

    env -> actor --STEPS--> reanalyzer --BATCHES--> learner
             ^                 ^  ^                  | | |
             |                 |  +----PRIORITIES----+ | |
             |                 +-------TARGETS---------+ |
             +-----------------------WEIGHTS-------------+
    everyone --METRICS--> supervisor; counters and heartbeats stand on the board; frames stay in the shard's arrays

An edge is a bounded queue of records (a full one holds its producer back, nothing is dropped; metrics alone may drop,
counted) or a set of weight slots. `Wiring` is one run's edges as specifications, picklable: the supervisor makes them,
every process attaches its own ends (`shared_edges.py`). In one process plain memory carries them (`memory_edges.py`).

Axes: E lanes of one actor, B batch, K unroll steps, A actions, ... an observation's own axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.edges import WAITS
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.records import BatchRecord, MetricRecord, PackedMetric, PriorityRecord, StepRecord, WeightsRecord
from speedyzero.replay.shard import ShardShape, shard_shape
from speedyzero.shm import BoardSpec, Field, RecordLayout, RingSpec, Run, SharedArraysSpec, WeightSlotsSpec
from speedyzero.weights.flat import acting_tensors


@dataclass(frozen=True)
class Edge:
    """One kind of connection, named for its cargo. capacity: records that it holds."""

    producer: str
    consumer: str
    record: type
    capacity: int


STEPS = Edge("actor", "reanalyzer", StepRecord, capacity=4)
BATCHES = Edge("reanalyzer", "learner", BatchRecord, capacity=2)
PRIORITIES = Edge("learner", "reanalyzer", PriorityRecord, capacity=4)
WEIGHTS = Edge("learner", "actor", WeightsRecord, capacity=3)
TARGETS = Edge("learner", "reanalyzer", WeightsRecord, capacity=3)
METRICS = Edge("everyone", "supervisor", MetricRecord, capacity=4096)

SUPERVISOR, REANALYZER, LEARNER = "supervisor", "reanalyzer-0", "learner-0"

# *_cpu_ns: processor time spent on being busy, on waiting. weights_version: what the role acts with, or has made.
COUNTERS = (
    "env_steps",
    "train_steps",
    "busy_ns",
    *WAITS,
    "busy_cpu_ns",
    "wait_cpu_ns",
    "weights_version",
    "checkpoint_step",
    "restarts",
)


@dataclass(frozen=True)
class Wiring:
    """One run's edges. Processes: the supervisor, actors, one reanalyzer (one shard), one learner."""

    run: Run
    board: BoardSpec
    steps: tuple[RingSpec[StepRecord], ...]  # one per actor
    batches: RingSpec[BatchRecord]
    priorities: RingSpec[PriorityRecord]
    metrics: tuple[RingSpec[PackedMetric], ...]  # one per process, in the board's order, the supervisor left out
    weights: WeightSlotsSpec
    targets: WeightSlotsSpec
    shard: SharedArraysSpec
    shard_shape: ShardShape

    @property
    def processes(self) -> tuple[str, ...]:
        """Everyone but the supervisor."""
        return self.board.rows[1:]

    @property
    def rings(self) -> tuple[RingSpec, ...]:
        return (*self.steps, self.batches, self.priorities, *self.metrics)

    @property
    def total_bytes(self) -> int:
        """Shared memory of the whole run."""
        return self.board.total_bytes + sum(size for _, size in self.sizes)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes of everything shared but the board."""
        rings = [(ring.name, ring.total_bytes) for ring in self.rings]
        slots = [(slots.name, slots.total_bytes) for slots in (self.weights, self.targets)]
        return (*rings, *slots, (self.shard.name, self.shard.total_bytes))

    def metrics_of(self, process: str) -> RingSpec[PackedMetric]:
        return self.metrics[self.processes.index(process)]


def bell_of(process: str) -> str:
    """The doorbell that a process waits on, whatever it waits for."""
    return f"bell.{process}"


def wire(config: Config, run: Run, spec: ObservationSpec, num_actions: int) -> Wiring:
    """The edges of a run on one machine: `actor.actors` actors feed one shard and one learner."""
    actors = tuple(f"actor-{index}" for index in range(config.actor.actors))
    rows = (SUPERVISOR, *actors, REANALYZER, LEARNER)
    shape = shard_shape(config, spec, num_actions)
    with torch.device("meta"):
        network = build_network(config, spec, num_actions)
    weight_bytes = 4 * sum(tensor.numel() for tensor in acting_tensors(network).values())

    def ring(edge: Edge, name: str, layout: RecordLayout, producer: str, consumer: str) -> RingSpec:
        return RingSpec(name, layout, edge.capacity, producer_bell=bell_of(producer), consumer_bell=bell_of(consumer))

    return Wiring(
        run=run,
        board=BoardSpec("board", rows, counters=COUNTERS),
        steps=tuple(
            ring(STEPS, f"steps.{actor}", step_layout(config.actor.envs, spec, num_actions), actor, REANALYZER)
            for actor in actors
        ),
        batches=ring(
            BATCHES,
            "batches",
            batch_layout(config.learner.batch_size, config.target.unroll_steps, num_actions),
            REANALYZER,
            LEARNER,
        ),
        priorities=ring(PRIORITIES, "priorities", priority_layout(config.learner.batch_size), LEARNER, REANALYZER),
        metrics=tuple(ring(METRICS, f"metrics.{process}", METRIC_LAYOUT, process, SUPERVISOR) for process in rows[1:]),
        weights=WeightSlotsSpec("weights", weight_bytes),
        targets=WeightSlotsSpec("targets", weight_bytes),
        shard=SharedArraysSpec("shard", tuple((name, Field(*field)) for name, field in shape.fields().items())),
        shard_shape=shape,
    )


METRIC_LAYOUT = RecordLayout.of(PackedMetric, name=Field("i4"), step=Field("i8"), value=Field("f8"))


def step_layout(envs: int, spec: ObservationSpec, num_actions: int) -> RecordLayout[StepRecord]:
    return RecordLayout.of(
        StepRecord,
        frame=Field(spec.dtype.str, (envs, *spec.shape)),
        action=Field("i2", (envs,)),
        reward=Field("f4", (envs,)),
        raw_reward=Field("f4", (envs,)),
        first=Field("?", (envs,)),
        terminal=Field("?", (envs,)),
        truncated=Field("?", (envs,)),
        last=Field("?", (envs,)),
        root_value=Field("f4", (envs,)),
        visit_policy=Field("f4", (envs, num_actions)),
        actor_version=Field("i8", (envs,)),
    )


def batch_layout(batch_size: int, unroll_steps: int, num_actions: int) -> RecordLayout[BatchRecord]:
    states = unroll_steps + 1
    return RecordLayout.of(
        BatchRecord,
        lane=Field("i8", (batch_size,)),
        step=Field("i8", (batch_size,)),
        probability=Field("f8", (batch_size,)),
        replay_size=Field("i8"),
        action=Field("i8", (batch_size, unroll_steps)),
        action_mask=Field("f4", (batch_size, unroll_steps)),
        value_target=Field("f4", (batch_size, states)),
        prefix_target=Field("f4", (batch_size, unroll_steps)),
        policy_target=Field("f4", (batch_size, states, num_actions)),
        target_version=Field("i8"),
    )


def priority_layout(batch_size: int) -> RecordLayout[PriorityRecord]:
    return RecordLayout.of(
        PriorityRecord,
        lane=Field("i8", (batch_size,)),
        step=Field("i8", (batch_size,)),
        version=Field("i8"),
        priority=Field("f4", (batch_size,)),
    )
