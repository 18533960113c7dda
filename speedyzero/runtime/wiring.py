"""All edges of a run: who sends what to whom, and its layout in shared memory.

    env -> actor --STEPS--> reanalyzer --BATCHES--> learner
             ^                 ^  ^                  | | |
             |                 |  +----PRIORITIES----+ | |
             |                 +-------TARGETS---------+ |
             +-----------------------WEIGHTS-------------+
    everyone --METRICS--> supervisor; counters and heartbeats are on the board, frames in the shard's arrays
    everyone --SPANS----> supervisor, in a profiled run

Names of rings: `steps.actor-0`, `batches.0-1` and `priorities.0-1` (shard 0, learner 1), `metrics.PROCESS`,
`spans.PROCESS`. Which shard feeds which learner: `placement.py`.

An edge is a bounded queue of records (a full one blocks its producer; only metrics and spans are dropped, and counted)
or a set of weight slots. `Wiring` is one run's edges as picklable specifications: the supervisor makes them, every
process attaches its own ends (`shared_edges.py`). An inline run uses plain memory (`local_edges.py`).

Axes: E lanes of one actor, B batch, K unroll steps, A actions, ... an observation's own axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.config.placement import Placement, place
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.model.flat import acting_tensors
from speedyzero.replay.shard import ShardShape, shard_shape
from speedyzero.shm import BoardSpec, Field, RecordLayout, RingSpec, Run, SharedArraysSpec, WeightSlotsSpec
from speedyzero.topology.edges import WAITS
from speedyzero.topology.records import (
    METRIC_NAME_BYTES,
    SPAN_FIELDS,
    SPANS_PER_BLOCK,
    BatchRecord,
    MetricRecord,
    PackedMetric,
    PriorityRecord,
    SpanBlock,
    StepRecord,
    WeightsRecord,
)


@dataclass(frozen=True)
class Edge:
    """One kind of connection, named for what it carries. capacity: in records."""

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
SPANS = Edge("everyone", "supervisor", SpanBlock, capacity=64)  # half a minute per process, without a reader

SUPERVISOR = "supervisor"


def actor_name(index: int) -> str:
    return f"actor-{index}"


def reanalyzer_name(shard: int) -> str:
    return f"reanalyzer-{shard}"


def learner_name(rank: int) -> str:
    return f"learner-{rank}"


REANALYZER, LEARNER = reanalyzer_name(0), learner_name(0)  # LEARNER counts the train steps

# *_cpu_ns: processor time while busy, while waiting. weights_version: that the role acts with, or has made.
# save_step: to be checkpointed; snapshot_step: copied by the learner; saved_step, unsaved_step: whose files this
# process has written, or failed to write; restored: 1 once a shard is. checkpoint_step, unscored_step: whose weights
# for scoring were written, or could not be. rounds: of the role's loop, waits included; they stop if it is stuck.
# profiling: whether spans are wanted (`run_profile.py`); in other rows, what is acknowledged. dropped_spans: lost.
COUNTERS = (
    "env_steps",
    "train_steps",
    "rounds",
    "busy_ns",
    *WAITS,
    "busy_cpu_ns",
    "wait_cpu_ns",
    "weights_version",
    "checkpoint_step",
    "save_step",
    "snapshot_step",
    "saved_step",
    "unsaved_step",
    "unscored_step",
    "restored",
    "restarts",
    "profiling",
    "dropped_spans",
)


@dataclass(frozen=True)
class Wiring:
    """One run's edges. Processes: the supervisor, actors, reanalyzers (one per shard), learners (one per rank)."""

    run: Run
    placement: Placement
    board: BoardSpec
    steps: tuple[RingSpec[StepRecord], ...]  # one per actor
    batches: tuple[RingSpec[BatchRecord], ...]  # one per feed of the placement
    priorities: tuple[RingSpec[PriorityRecord], ...]  # one per feed
    metrics: tuple[RingSpec[PackedMetric], ...]  # one per process but the supervisor, in the board's order
    spans: tuple[RingSpec[SpanBlock], ...]  # likewise; none if the run is not profiled
    weights: WeightSlotsSpec
    targets: WeightSlotsSpec
    shards: tuple[SharedArraysSpec, ...]
    shard_shape: ShardShape  # of every shard

    @property
    def processes(self) -> tuple[str, ...]:
        """All but the supervisor."""
        return self.board.rows[1:]

    @property
    def devices(self) -> dict[str, str]:
        """By process."""
        place = self.placement
        return dict(zip(self.processes, (*place.actors, *place.shards, *place.learners), strict=True))

    @property
    def rings(self) -> tuple[RingSpec, ...]:
        return (*self.steps, *self.batches, *self.priorities, *self.metrics, *self.spans)

    @property
    def total_bytes(self) -> int:
        """Shared memory of the whole run."""
        return self.board.total_bytes + sum(size for _, size in self.sizes)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes of everything shared but the board."""
        rings = [(ring.name, ring.total_bytes) for ring in self.rings]
        slots = [(slots.name, slots.total_bytes) for slots in (self.weights, self.targets)]
        return (*rings, *slots, *((shard.name, shard.total_bytes) for shard in self.shards))

    def metrics_of(self, process: str) -> RingSpec[PackedMetric]:
        return self.metrics[self.processes.index(process)]

    def spans_of(self, process: str) -> RingSpec[SpanBlock] | None:
        """None if the run is not profiled."""
        return self.spans[self.processes.index(process)] if self.spans else None

    def steps_into(self, shard: int) -> tuple[RingSpec[StepRecord], ...]:
        """From the actors that feed a shard."""
        return tuple(self.steps[actor] for actor in self.placement.actors_of(shard))

    def feeds_of(self, *, shard: int | None = None, learner: int | None = None) -> tuple[int, ...]:
        """Indices into `batches` and `priorities` of the rings of one shard, or of one learner."""
        feeds = enumerate(self.placement.feeds)
        return tuple(i for i, feed in feeds if feed.shard == shard or feed.learner == learner)


def bell_of(process: str) -> str:
    """The one doorbell that a process waits on."""
    return f"bell.{process}"


def wire(config: Config, run: Run, spec: ObservationSpec, num_actions: int, *, profiled: bool = False) -> Wiring:
    """The edges of a run, for the placement of its settings. profiled: with rings of spans."""
    placement = place(config)
    actors = tuple(actor_name(index) for index in range(len(placement.actors)))
    reanalyzers = tuple(reanalyzer_name(shard) for shard in range(len(placement.shards)))
    rows = (SUPERVISOR, *actors, *reanalyzers, *(learner_name(rank) for rank in range(len(placement.learners))))
    shape = shard_shape(config, spec, num_actions)
    arrays = tuple((name, Field(*field)) for name, field in shape.fields().items())
    with torch.device("meta"):
        network = build_network(config, spec, num_actions)
    weight_bytes = 4 * sum(tensor.numel() for tensor in acting_tensors(network).values())
    part = placement.part_of(config.learner.batch_size)

    def ring(edge: Edge, name: str, layout: RecordLayout, producer: str, consumer: str) -> RingSpec:
        return RingSpec(name, layout, edge.capacity, producer_bell=bell_of(producer), consumer_bell=bell_of(consumer))

    def feed_rings(edge: Edge, name: str, layout: RecordLayout) -> tuple[RingSpec, ...]:
        rings = []
        for feed in placement.feeds:
            ends = {"reanalyzer": reanalyzer_name(feed.shard), "learner": learner_name(feed.learner)}
            full_name = f"{name}.{feed.shard}-{feed.learner}"
            rings.append(ring(edge, full_name, layout, ends[edge.producer], ends[edge.consumer]))
        return tuple(rings)

    return Wiring(
        run=run,
        placement=placement,
        board=BoardSpec("board", rows, counters=COUNTERS),
        steps=tuple(
            ring(
                STEPS,
                f"steps.{actor}",
                step_layout(config.actor.envs, spec, num_actions),
                actor,
                reanalyzers[index % len(reanalyzers)],
            )
            for index, actor in enumerate(actors)
        ),
        batches=feed_rings(BATCHES, "batches", batch_layout(part, config.target.unroll_steps, num_actions)),
        priorities=feed_rings(PRIORITIES, "priorities", priority_layout(part)),
        metrics=tuple(ring(METRICS, f"metrics.{process}", METRIC_LAYOUT, process, SUPERVISOR) for process in rows[1:]),
        spans=tuple(
            ring(SPANS, f"spans.{process}", SPAN_LAYOUT, process, SUPERVISOR) for process in rows[1:] if profiled
        ),
        weights=WeightSlotsSpec("weights", weight_bytes),
        targets=WeightSlotsSpec("targets", weight_bytes),
        shards=tuple(SharedArraysSpec(f"shard.{index}", arrays) for index in range(len(placement.shards))),
        shard_shape=shape,
    )


METRIC_LAYOUT = RecordLayout.stored(PackedMetric, {"L": METRIC_NAME_BYTES})
SPAN_LAYOUT = RecordLayout.stored(SpanBlock, {"N": SPANS_PER_BLOCK, "F": SPAN_FIELDS})


def step_layout(envs: int, spec: ObservationSpec, num_actions: int) -> RecordLayout[StepRecord]:
    frame = Field(spec.dtype.str, (envs, *spec.shape))
    return RecordLayout.stored(StepRecord, {"E": envs, "A": num_actions}, frame=frame)


def batch_layout(batch_size: int, unroll_steps: int, num_actions: int) -> RecordLayout[BatchRecord]:
    lengths = {"B": batch_size, "K": unroll_steps, "K+1": unroll_steps + 1, "A": num_actions}
    return RecordLayout.stored(BatchRecord, lengths)


def priority_layout(batch_size: int) -> RecordLayout[PriorityRecord]:
    return RecordLayout.stored(PriorityRecord, {"B": batch_size})
