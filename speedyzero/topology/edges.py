"""The ends of the edges as the roles hold them, whatever carries them: memory of one process, or shared memory.

A role is handed exactly its own ends. A queue's producer asks `full` before it puts, its consumer `empty` before it
gets; both act only where the answer was no, so no role ever waits inside its step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from speedyzero.topology.records import BatchRecord, MetricRecord, PriorityRecord, StepRecord, WeightsRecord

# What a role that could not move waits for: play or learning to catch up, its consumer, its producer; and, inside a
# step, the other learners of its group.
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
        """Of the record being drained: it rises when the producer was replaced. Before any record, of the last one."""
        ...

    @property
    def consumed(self) -> int:
        """Records freed so far, damaged ones not counted."""
        ...

    def drain(self) -> Iterator[Received]:
        """Every record that is there, oldest first; each is freed when the next one is asked for, not before."""
        ...

    def get(self) -> Received | None:
        """The oldest record; None where it was damaged, and therefore dropped and counted."""
        ...


class WeightSink(Protocol):
    def publish(self, record: WeightsRecord) -> None: ...


class WeightSource(Protocol):
    def newer_than(self, version: int) -> WeightsRecord | None:
        """The newest weights, or None where they are not newer than `version`."""
        ...

    def at(self, version: int) -> WeightsRecord | None:
        """The weights of exactly that version, or None where they are not (or no longer) here."""
        ...


class Board(Protocol):
    """The counters that pace a run."""

    @property
    def env_steps(self) -> int:
        """Steps acted by all actors, final observations not counted."""
        ...

    @property
    def own_env_steps(self) -> int:
        """Steps acted by this actor, its predecessors' included."""
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
