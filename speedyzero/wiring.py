"""Every edge of the machine on one page: who sends what to whom.

    env -> actor --STEP--> reanalyzer --BATCH--> learner
             ^                 ^  ^                 | | |
             |                 |  +----PRIORITY-----+ | |
             |                 +-------TARGETS--------+ |
             +-----------------------WEIGHTS------------+
    everyone --METRIC--> whoever keeps the run directory; counters stand on the board

An edge is a bounded queue of records (a full one holds its producer back, nothing is dropped) or a set of weight
slots. `inline_edges` makes them of plain memory for roles that run by turns in one process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from speedyzero.records import BatchRecord, MetricRecord, PriorityRecord, StepRecord, WeightsRecord

Record = TypeVar("Record")


@dataclass(frozen=True)
class Edge:
    """One kind of connection, named for its cargo."""

    producer: str
    consumer: str
    record: type
    capacity: int


STEP_RING = Edge("actor", "reanalyzer", StepRecord, capacity=4)
BATCH_RING = Edge("reanalyzer", "learner", BatchRecord, capacity=1)
PRIORITY_RING = Edge("learner", "reanalyzer", PriorityRecord, capacity=4)
WEIGHT_SLOTS = Edge("learner", "actor", WeightsRecord, capacity=1)
TARGET_SLOTS = Edge("learner", "reanalyzer", WeightsRecord, capacity=3)
METRIC_RING = Edge("everyone", "supervisor", MetricRecord, capacity=1 << 16)


class MemoryQueue(Generic[Record]):
    """An edge within one process. FREE slots are counted, READY records lie in `_records`, oldest first."""

    def __init__(self, edge: Edge):
        self._edge = edge
        self._records: deque[Record] = deque()

    @property
    def full(self) -> bool:
        return len(self._records) >= self._edge.capacity

    @property
    def empty(self) -> bool:
        return not self._records

    def put(self, record: Record) -> None:
        assert not self.full, f"{self._edge.producer} must check `full` before it puts"
        self._records.append(record)

    def get(self) -> Record:
        """The oldest record."""
        return self._records.popleft()


class MemoryWeights:
    """The newest versions of a network's weights."""

    def __init__(self, edge: Edge):
        self._versions: deque[WeightsRecord] = deque(maxlen=edge.capacity)

    def publish(self, record: WeightsRecord) -> None:
        self._versions.append(record)

    def newer_than(self, version: int) -> WeightsRecord | None:
        """The newest weights, or None where they are not newer than `version`."""
        if self._versions and self._versions[-1].version > version:
            return self._versions[-1]
        return None

    def at(self, version: int) -> WeightsRecord | None:
        """The weights of exactly that version, or None where they are not (or no longer) here."""
        return next((record for record in self._versions if record.version == version), None)


@dataclass
class Board:
    """Counters that everyone reads; each has one writer."""

    env_steps: int = 0  # actor: steps acted, final observations not counted
    train_steps: int = 0  # learner


@dataclass(frozen=True)
class InlineEdges:
    """All edges of one actor, one reanalyzer and one learner in one process."""

    steps: MemoryQueue[StepRecord] = field(default_factory=lambda: MemoryQueue(STEP_RING))
    batches: MemoryQueue[BatchRecord] = field(default_factory=lambda: MemoryQueue(BATCH_RING))
    priorities: MemoryQueue[PriorityRecord] = field(default_factory=lambda: MemoryQueue(PRIORITY_RING))
    weights: MemoryWeights = field(default_factory=lambda: MemoryWeights(WEIGHT_SLOTS))
    targets: MemoryWeights = field(default_factory=lambda: MemoryWeights(TARGET_SLOTS))
    metrics: MemoryQueue[MetricRecord] = field(default_factory=lambda: MemoryQueue(METRIC_RING))
    board: Board = field(default_factory=Board)
