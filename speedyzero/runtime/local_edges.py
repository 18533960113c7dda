"""Edges within one process: plain memory, for roles that take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from speedyzero.runtime.wiring import BATCHES, METRICS, PRIORITIES, STEPS, TARGETS, WEIGHTS, Edge
from speedyzero.topology.edges import ActorEdges, LearnerEdges, ReanalyzerEdges
from speedyzero.topology.records import BatchRecord, MetricRecord, PriorityRecord, StepRecord, WeightsRecord

Record = TypeVar("Record")


class MemoryQueue(Generic[Record]):
    """A bounded queue, oldest record first."""

    def __init__(self, edge: Edge, *, capacity: int = 0):
        self._edge, self._capacity = edge, capacity or edge.capacity
        self._records: deque[Record] = deque()
        self.epoch, self.consumed = 1, 0

    @property
    def full(self) -> bool:
        return len(self._records) >= self._capacity

    @property
    def empty(self) -> bool:
        return not self._records

    @property
    def waiting(self) -> tuple[Record, ...]:
        """Records not yet got, oldest first."""
        return tuple(self._records)

    def put(self, record: Record) -> None:
        assert not self.full, f"{self._edge.producer} must check `full` before it puts"
        self._records.append(record)

    def get(self) -> Record:
        """The oldest record."""
        self.consumed += 1
        return self._records.popleft()

    def drain(self) -> Iterator[Record]:
        while self._records:
            yield self._records[0]
            self.get()


class MemoryWeights:
    """The newest versions of a network's weights."""

    def __init__(self, edge: Edge):
        self._versions: deque[WeightsRecord] = deque(maxlen=edge.capacity)

    def publish(self, record: WeightsRecord) -> None:
        self._versions.append(record)

    def newer_than(self, version: int) -> WeightsRecord | None:
        if self._versions and self._versions[-1].version > version:
            return self._versions[-1]
        return None

    def at(self, version: int) -> WeightsRecord | None:
        return next((record for record in self._versions if record.version == version), None)


@dataclass
class MemoryBoard:
    env_steps: int = 0
    train_steps: int = 0

    @property
    def own_env_steps(self) -> int:
        return self.env_steps

    def add_env_steps(self, count: int) -> None:
        self.env_steps += count

    def add_train_step(self) -> None:
        self.train_steps += 1


def _batches() -> MemoryQueue[BatchRecord]:
    # One: roles that take turns gain nothing from batches made ahead, and each batch uses the newest priorities.
    return MemoryQueue(BATCHES, capacity=1)


@dataclass(frozen=True)
class InlineEdges:
    """All edges of one actor, one reanalyzer and one learner in one process."""

    steps: MemoryQueue[StepRecord] = field(default_factory=lambda: MemoryQueue(STEPS))
    batches: MemoryQueue[BatchRecord] = field(default_factory=_batches)
    priorities: MemoryQueue[PriorityRecord] = field(default_factory=lambda: MemoryQueue(PRIORITIES))
    weights: MemoryWeights = field(default_factory=lambda: MemoryWeights(WEIGHTS))
    targets: MemoryWeights = field(default_factory=lambda: MemoryWeights(TARGETS))
    metrics: MemoryQueue[MetricRecord] = field(default_factory=lambda: MemoryQueue(METRICS))
    board: MemoryBoard = field(default_factory=MemoryBoard)

    def for_actor(self) -> ActorEdges:
        return ActorEdges(steps=self.steps, weights=self.weights, metrics=self.metrics, board=self.board)

    def for_reanalyzer(self) -> ReanalyzerEdges:
        return ReanalyzerEdges(
            steps=(self.steps,),
            priorities=(self.priorities,),
            batches=(self.batches,),
            targets=self.targets,
            weights=self.weights,
            metrics=self.metrics,
            board=self.board,
        )

    def for_learner(self) -> LearnerEdges:
        return LearnerEdges(
            batches=(self.batches,),
            priorities=(self.priorities,),
            weights=self.weights,
            targets=self.targets,
            metrics=self.metrics,
            board=self.board,
        )
