"""The ends of the edges as the roles hold them, over shared memory or within one process.

A role receives exactly its own ends. A queue's producer checks `full` before it puts, its consumer `empty` before it
gets, so no role waits inside its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from speedyzero.topology.records import BatchRecord, MetricRecord, PriorityRecord, StepRecord, WeightsRecord

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

    def put(self, record: Sent) -> None: ...


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
    metrics: Sender[MetricRecord]
    board: Board


@dataclass(frozen=True)
class ReanalyzerEdges:
    steps: Sequence[Receiver[StepRecord]]  # one per actor that feeds the shard
    priorities: Sequence[Receiver[PriorityRecord]]  # one per learner that draws from it
    batches: Sequence[Sender[BatchRecord]]
    targets: WeightSource
    weights: WeightSource
    metrics: Sender[MetricRecord]
    board: Board


@dataclass(frozen=True)
class LearnerEdges:
    batches: Sequence[Receiver[BatchRecord]]  # one per shard that it draws from
    priorities: Sequence[Sender[PriorityRecord]]
    weights: WeightSink | None  # None: another rank on this host publishes
    targets: WeightSink | None
    metrics: Sender[MetricRecord]
    board: Board
