"""Edges within one process: plain memory, for roles that take turns."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np

from speedyzero.topology.edges import BATCHES, METRICS, QUEUES, SLOTS, Edge, Ends, ends_of
from speedyzero.topology.records import BatchRecord, MetricRecord, PriorityRecord, StepRecord, WeightsRecord
from speedyzero.topology.role_state import RoleState

Record = TypeVar("Record")


class MemoryQueue(Generic[Record]):
    """A bounded queue, oldest record first."""

    def __init__(self, edge: Edge, *, capacity: int = 0):
        self._edge, self._capacity = edge, capacity or edge.capacity
        self._records: deque[Record] = deque()
        self.epoch, self.published, self.consumed = 1, 0, 0

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
        self.published += 1

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


class InlineEdges:
    """All edges of one actor, one reanalyzer and one learner in one process, each an attribute of its name."""

    steps: MemoryQueue[StepRecord]
    batches: MemoryQueue[BatchRecord]
    priorities: MemoryQueue[PriorityRecord]
    metrics: MemoryQueue[MetricRecord]
    weights: MemoryWeights
    targets: MemoryWeights
    board: MemoryBoard

    def __init__(self, **others: Any):
        """others: edges used in place of plain memory."""
        # One batch: roles that take turns gain nothing from batches made ahead, and each uses the newest priorities.
        made: dict[str, Any] = {edge.name: MemoryQueue(edge) for edge in (*QUEUES, METRICS)}
        made |= {edge.name: MemoryWeights(edge) for edge in SLOTS}
        vars(self).update(made | {"batches": MemoryQueue(BATCHES, capacity=1), "board": MemoryBoard()} | others)

    def of(self, kind: type[Ends]) -> Ends:
        """A role's ends."""
        mine: dict[str, Any] = {}
        for name, is_many in ends_of(kind).items():
            mine[name] = (getattr(self, name),) if is_many else getattr(self, name)
        return kind(**mine)

    def part(self) -> RoleState:
        """Records in flight between two turns, as a role state of a checkpoint."""
        document: dict[str, list[dict[str, int]]] = {}
        tensors: dict[str, np.ndarray] = {}
        for edge in QUEUES:
            document[edge.name] = []
            for number, record in enumerate(getattr(self, edge.name).waiting):
                values = vars(record)
                arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
                tensors |= {f"{edge.name}/{number}/{key}": value for key, value in arrays.items()}
                document[edge.name].append({key: int(value) for key, value in values.items() if key not in arrays})
        return RoleState(document, tensors)

    def restore(self, part: RoleState) -> None:
        """Put saved records into new edges. Raises ValueError if a record is incomplete."""
        for edge in QUEUES:
            for number, numbers in enumerate(part.document[edge.name]):
                names = [field.name for field in fields(edge.record) if field.name not in numbers]
                arrays = {name: part.array(f"{edge.name}/{number}/{name}") for name in names}
                getattr(self, edge.name).put(edge.record(**numbers, **arrays))
