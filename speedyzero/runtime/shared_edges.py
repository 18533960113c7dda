"""Edges over shared memory: rings, weight slots and the run board as the roles' ends.

Each process makes its own (`shared_ends`) from the `Wiring` that it receives from the supervisor (`wiring.py`).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from speedyzero.runtime.wiring import LEARNER, Wiring
from speedyzero.shm import (
    Board,
    BoardRow,
    Consumer,
    Producer,
    Ring,
    RingSpec,
    Run,
    WeightReader,
    WeightSlots,
    WeightWriter,
)
from speedyzero.topology.edges import TARGETS, Ends, LearnerEdges, ends_of
from speedyzero.topology.records import MetricRecord, PackedMetric, SpanBlock, WeightsRecord
from speedyzero.tracing.spans import Span

Record = TypeVar("Record")

KEPT_VERSIONS = 3


class RingSender(Generic[Record]):
    """The producing end of a ring. While the ring is full, the producer waits on its process's doorbell."""

    def __init__(self, run: Run, spec: RingSpec[Record]):
        self._ring = Ring.attach(run, spec)
        self._producer: Producer[Record] = self._ring.producer()
        self._span = Span("put", nbytes=spec.layout.payload_bytes)

    @property
    def full(self) -> bool:
        return not self._producer.has_space

    @property
    def published(self) -> int:
        """Records ever published on this ring."""
        return self._producer.published

    def put(self, record: Record) -> None:
        with self._span:
            sent = self._producer.put(record)
        assert sent, "the producer must check `full` before it puts"


class RingReceiver(Generic[Record]):
    """The consuming end of a ring."""

    def __init__(self, run: Run, spec: RingSpec[Record]):
        self._ring = Ring.attach(run, spec)
        self._consumer: Consumer[Record] = self._ring.consumer()
        self._span = Span("get", nbytes=spec.layout.payload_bytes)

    @property
    def empty(self) -> bool:
        return not self._consumer.has_record

    @property
    def epoch(self) -> int:
        """The producer's epoch of the last record; it rises when a producer is replaced."""
        return self._consumer.epoch

    @property
    def consumed(self) -> int:
        return self._consumer.consumed

    def get(self) -> Record | None:
        with self._span:
            return self._consumer.get()

    def drain(self) -> Iterator[Record]:
        """Records in place in the ring: each is valid only until the next one is requested."""
        while self._consumer.has_record:
            with self._span:
                record = self._consumer.begin()
            if record is None:  # all remaining records were damaged
                return
            yield record
            self._consumer.release()


class MetricSender:
    """Sends metrics. A full ring drops and counts them: metrics must never delay a role."""

    def __init__(self, run: Run, spec: RingSpec[PackedMetric]):
        self._producer = Ring.attach(run, spec).producer()

    def put(self, record: MetricRecord) -> None:
        self._producer.put_or_drop(PackedMetric.of(record))


class SpanSender:
    """Sends blocks of spans. A full ring drops the block and counts its spans."""

    def __init__(self, run: Run, spec: RingSpec[SpanBlock], row: BoardRow):
        self._producer, self._row = Ring.attach(run, spec).producer(), row

    def __call__(self, block: SpanBlock) -> bool:
        is_sent = self._producer.put_or_drop(block)
        if not is_sent:
            self._row.add("dropped_spans", block.count)
        return is_sent


class SlotSink:
    """Publishes weights, copied into a slot: the caller may reuse its vector."""

    def __init__(self, slots: WeightSlots):
        self._writer: WeightWriter = slots.writer()
        self._span = Span("publish", nbytes=slots.spec.size_bytes)

    def publish(self, record: WeightsRecord) -> None:
        with self._span:
            self._writer.publish(record.version, record.flat.numpy())


class SlotSource:
    """Reads weights and keeps the last few versions, for lookup by version."""

    def __init__(self, slots: WeightSlots, *, before: Iterable[WeightsRecord] = ()):
        """before: versions that were published before the run was resumed."""
        self._reader: WeightReader = slots.reader()
        self._kept: deque[WeightsRecord] = deque(before, maxlen=KEPT_VERSIONS)
        self._span = Span("read", nbytes=slots.spec.size_bytes)

    def newer_than(self, version: int) -> WeightsRecord | None:
        self._poll()
        if self._kept and self._kept[-1].version > version:
            return self._kept[-1]
        return None

    def at(self, version: int) -> WeightsRecord | None:
        self._poll()
        return next((record for record in self._kept if record.version == version), None)

    def _poll(self) -> None:
        if not self._reader.has_newer:
            return
        with self._span:
            publication = self._reader.read()
        if publication is not None and not any(one.version == publication.version for one in self._kept):
            flat = torch.from_numpy(publication.data.view(np.float32))
            self._kept.append(WeightsRecord(version=publication.version, flat=flat))


class SharedBoard:
    """The pacing counters on the run board. `row`: this process's own, the only one that it writes."""

    def __init__(self, board: Board, row: BoardRow):
        self._words, self._row = board.words, row
        self._env_steps = [board.spec.word_of(name, "env_steps") for name in board.spec.rows]
        self._train_steps = [board.spec.word_of(name, "train_steps") for name in board.spec.rows]
        self._own_env_steps = board.spec.word_of(row.name, "env_steps")

    @property
    def env_steps(self) -> int:
        return sum(self._words[word] for word in self._env_steps)

    @property
    def own_env_steps(self) -> int:
        return self._words[self._own_env_steps]

    @property
    def train_steps(self) -> int:
        return sum(self._words[word] for word in self._train_steps)

    def add_env_steps(self, count: int) -> None:
        self._row.add("env_steps", count)

    def add_train_step(self) -> None:
        self._row.add("train_steps")


def shared_ends(
    kind: type[Ends],
    wiring: Wiring,
    process: str,
    *,
    metrics: MetricSender,
    board: SharedBoard,
    before: Iterable[WeightsRecord] = (),
) -> Ends:
    """All ends of one process, attached. before: targets that were published before the run was resumed."""
    ends: dict[str, Any] = {"metrics": metrics, "board": board}
    for name, is_many in ends_of(kind).items():
        if name in wiring.slots:
            ends[name] = _slots_end(kind, wiring, process, name, before if name == TARGETS.name else ())
        elif name in wiring.queues and name not in ends:
            rings = wiring.produced_by(process, name)
            end = RingSender if rings else RingReceiver
            held = [end(wiring.run, ring) for ring in rings or wiring.consumed_by(process, name)]
            ends[name] = held if is_many else held[0]
    return kind(**ends)


def _slots_end(
    kind: type[Ends], wiring: Wiring, process: str, name: str, before: Iterable[WeightsRecord]
) -> SlotSink | SlotSource | None:
    """Learners publish, the first rank of this host for all; the other roles read."""
    if kind is not LearnerEdges:
        return SlotSource(WeightSlots.attach(wiring.run, wiring.slots[name]), before=before)
    return SlotSink(WeightSlots.attach(wiring.run, wiring.slots[name], writable=True)) if process == LEARNER else None
