"""The edges of a run and their ends as the roles hold them, over shared memory or within one process.

    env -> actor --STEPS--> reanalyzer --BATCHES--> learner
             ^                 ^  ^                  | | |
             |                 |  +----PRIORITIES----+ | |
             |                 +-------TARGETS---------+ |
             +-----------------------WEIGHTS-------------+
    everyone --METRICS--> supervisor
    everyone --SPANS----> supervisor, in a profiled run

An edge is a bounded queue of records (a full one blocks its producer; only metrics and spans are dropped, and counted)
or a set of weight slots. A role receives exactly its own ends. A queue's producer checks `full` before it puts, its
consumer `empty` before it gets, so no role waits inside its step.

A new queue is a record (`records.py`), an `Edge` in `QUEUES` and a field of its name in the ends of both roles; layout,
shared memory and both carriers (`runtime/`) follow from these.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, get_origin

from speedyzero.topology.records import (
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
    """One kind of connection between two roles. record: as it is stored in shared memory. capacity: in records."""

    name: str
    producer: str
    consumer: str
    record: type
    capacity: int


STEPS = Edge("steps", "actor", "reanalyzer", StepRecord, capacity=4)
BATCHES = Edge("batches", "reanalyzer", "learner", BatchRecord, capacity=2)
PRIORITIES = Edge("priorities", "learner", "reanalyzer", PriorityRecord, capacity=4)
QUEUES = (STEPS, BATCHES, PRIORITIES)
METRICS = Edge("metrics", "everyone", "supervisor", PackedMetric, capacity=4096)
SPANS = Edge("spans", "everyone", "supervisor", SpanBlock, capacity=64)  # half a minute per process, without a reader
WEIGHTS = Edge("weights", "learner", "everyone", WeightsRecord, capacity=3)
TARGETS = Edge("targets", "learner", "reanalyzer", WeightsRecord, capacity=3)
SLOTS = (WEIGHTS, TARGETS)

# What a role without progress waits for: play or learning to catch up, its consumer, its producer; and, inside a step,
# the other learners of its group.
WAIT_PACING, WAIT_SPACE, WAIT_INPUT, WAIT_GROUP = WAITS = (
    "wait_pacing_ns",
    "wait_space_ns",
    "wait_input_ns",
    "wait_group_ns",
)

Sent = TypeVar("Sent", contravariant=True)
Received = TypeVar("Received", covariant=True)


class Sender(Protocol[Sent]):
    @property
    def full(self) -> bool: ...

    @property
    def published(self) -> int:
        """Records ever put, by predecessors too."""
        ...

    def put(self, record: Sent) -> None: ...


class MetricSink(Protocol):
    def put(self, record: MetricRecord) -> None: ...


class Receiver(Protocol[Received]):
    @property
    def empty(self) -> bool: ...

    @property
    def epoch(self) -> int:
        """Of the record being drained, or else of the last one; it rises when the producer is replaced."""
        ...

    @property
    def consumed(self) -> int:
        """Records freed so far, damaged ones not counted."""
        ...

    def drain(self) -> Iterator[Received]:
        """All records present, oldest first; each is freed when the next one is requested, not before."""
        ...

    def get(self) -> Received | None:
        """The oldest record; None if it was damaged, and so dropped and counted."""
        ...


class WeightSink(Protocol):
    def publish(self, record: WeightsRecord) -> None: ...


class WeightSource(Protocol):
    def newer_than(self, version: int) -> WeightsRecord | None:
        """The newest weights, or None if they are not newer than `version`."""
        ...

    def at(self, version: int) -> WeightsRecord | None:
        """The weights of exactly that version, or None if they are not, or no longer, available."""
        ...


class Board(Protocol):
    """The counters that pace a run."""

    @property
    def env_steps(self) -> int:
        """Steps acted by all actors, final observations not counted."""
        ...

    @property
    def own_env_steps(self) -> int:
        """Steps acted by this actor and its predecessors."""
        ...

    @property
    def train_steps(self) -> int: ...

    def add_env_steps(self, count: int) -> None:
        """For an actor."""
        ...

    def add_train_step(self) -> None:
        """For the learner that counts for its group."""
        ...


@dataclass(frozen=True)
class ActorEdges:
    steps: Sender[StepRecord]
    weights: WeightSource
    metrics: MetricSink
    board: Board


@dataclass(frozen=True)
class ReanalyzerEdges:
    steps: Sequence[Receiver[StepRecord]]  # one per actor that feeds the shard
    priorities: Sequence[Receiver[PriorityRecord]]  # one per learner that draws from it
    batches: Sequence[Sender[BatchRecord]]
    targets: WeightSource
    weights: WeightSource
    metrics: MetricSink
    board: Board


@dataclass(frozen=True)
class LearnerEdges:
    batches: Sequence[Receiver[BatchRecord]]  # one per shard that it draws from
    priorities: Sequence[Sender[PriorityRecord]]
    weights: WeightSink | None  # None: another rank on this host publishes
    targets: WeightSink | None
    metrics: MetricSink
    board: Board


Ends = TypeVar("Ends", ActorEdges, ReanalyzerEdges, LearnerEdges)


def ends_of(kind: type[Ends]) -> dict[str, bool]:
    """The names of a role's ends, and whether it holds several of that kind."""
    return {field.name: get_origin(field.type) is Sequence for field in dataclasses.fields(kind)}
