"""A ring's shared memory: control words, slots, and a consistent snapshot of the counters.

    Segment payload:  constants | producer's line | consumer's line | bank 0 | bank 1 | spare | slot 0 | slot 1 | ...
    Slot:             sequence, epoch, checksum (one cache line) | record

The states of a slot and their transitions: `ring.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Self

import numpy as np

from speedyzero.shm.doorbell import Doorbell
from speedyzero.shm.layout import R, RecordLayout, digest
from speedyzero.shm.liveness import ProcessId
from speedyzero.shm.run import Run
from speedyzero.shm.segment import CACHE_LINE_BYTES, HEADER_BYTES, Segment, SegmentError, SegmentKind

# Word offsets into the control block. Each line of 8 words has one writer.
HEAD, EPOCH, WRITING, PRODUCER_CLAIM, PRODUCER_BLOCKED_NS, DROPPED_FULL = 8, 9, 10, 11, 13, 14
TAIL, READING, CONSUMER_CLAIM, CONSUMER_BLOCKED_NS = 16, 17, 18, 20
BANKS, BANK_WORDS = 24, 8
BANK_CONSUMED, BANK_DROPPED, BANK_EPOCH = 0, 1, 7
CONTROL_WORDS = 64
# Word offsets into a slot's header line.
SEQUENCE, SLOT_EPOCH, CHECKSUM = 0, 1, 2

_SNAPSHOT_TRIES = 100_000


class Drop(IntEnum):
    """Why a consumer freed a record without accepting it. The values number the words of a bank."""

    CHECKSUM = 0  # the bytes do not match their checksum
    SEQUENCE = 1  # the slot does not hold the expected record
    EPOCH = 2  # the producer epoch is lower than the previous record's, or does not exist yet
    DISCARDED = 3  # rejected by the consumer


@dataclass(frozen=True)
class RingSpec(Generic[R]):
    """The parameters that both ends must share. Picklable: pass it to a child with the `Run`.

    producer_bell, consumer_bell: the name of an existing doorbell that the producer (consumer) waits on, shared with
    other rings; empty: the ring creates its own.
    """

    name: str
    layout: RecordLayout[R]
    slots: int
    producer_bell: str = ""
    consumer_bell: str = ""

    def __post_init__(self):
        if self.slots < 2:
            raise ValueError(f"ring {self.name}: {self.slots} slots < 2, one to write while one is read")

    @property
    def slot_bytes(self) -> int:
        return CACHE_LINE_BYTES + self.layout.payload_bytes

    @property
    def kind(self) -> SegmentKind:
        payload_bytes = 8 * CONTROL_WORDS + self.slots * self.slot_bytes
        return SegmentKind("ring", digest(self.layout.schema, self.slots), payload_bytes)

    @property
    def total_bytes(self) -> int:
        """Shared memory used by the ring."""
        return HEADER_BYTES + self.kind.payload_bytes


@dataclass(frozen=True)
class RingStats:
    """A consistent snapshot of a ring's counters."""

    produced: int  # published, or dropped because the ring was full
    consumed: int
    dropped: dict[str, int]  # by reason
    in_flight: int  # published and not yet freed
    slots: int
    epoch: int  # producers so far
    writing: bool  # a record is being written, or was when the writer died
    reading: bool
    producer_blocked_s: float
    consumer_blocked_s: float

    @property
    def unaccounted(self) -> int:
        """Records lost or counted twice; must be 0."""
        return self.produced - self.consumed - sum(self.dropped.values()) - self.in_flight


class RingMemory(Generic[R]):
    """A mapped ring with its doorbells. Any attached process may read `stats()`."""

    def __init__(self, spec: RingSpec[R], segment: Segment, space_bell: Doorbell, items_bell: Doorbell):
        self.spec, self._segment = spec, segment
        self.space_bell, self.items_bell = space_bell, items_bell  # what the producer (the consumer) waits on
        self.words = segment.words()

    @classmethod
    def create(cls, run: Run, spec: RingSpec[R], *, prefault: bool = True) -> Self:
        """Create an empty ring. A shared doorbell must exist.

        Raises:
            SegmentError: the name exists, there is too little space, or a shared doorbell is missing.
        """
        segment = Segment.create(run, spec.name, spec.kind, prefault=prefault)
        bells: list[Doorbell] = []
        try:
            for shared, own in ((spec.producer_bell, ".space"), (spec.consumer_bell, ".items")):
                bells.append(Doorbell.attach(run, shared) if shared else Doorbell.create(run, spec.name + own))
        except SegmentError:
            segment.unlink()
            if bells and not spec.producer_bell:
                bells[0].unlink()
            raise
        return cls(spec, segment, *bells)

    @classmethod
    def attach(cls, run: Run, spec: RingSpec[R], *, prefault: bool = True) -> Self:
        """
        Raises:
            SegmentError: there is no such ring, or it differs from `spec`.
        """
        segment = Segment.attach(run, spec.name, spec.kind, prefault=prefault)
        space = Doorbell.attach(run, spec.producer_bell or f"{spec.name}.space")
        items = Doorbell.attach(run, spec.consumer_bell or f"{spec.name}.items")
        return cls(spec, segment, space, items)

    def stats(self) -> RingStats:
        words = self.words
        for _ in range(_SNAPSHOT_TRIES):
            tail = words[TAIL]
            start = bank_start(tail)
            bank = list(words[start : start + BANK_WORDS])
            if words[TAIL] == tail:
                break
        else:
            raise RuntimeError(f"ring {self.spec.name}: no consistent snapshot in {_SNAPSHOT_TRIES:,} tries")
        head, dropped_full = words[HEAD], words[DROPPED_FULL]
        dropped = {reason.name.lower(): bank[BANK_DROPPED + reason] for reason in Drop}
        return RingStats(
            produced=head + dropped_full,
            consumed=bank[BANK_CONSUMED],
            dropped=dropped | {"full": dropped_full},
            in_flight=head - tail,
            slots=self.spec.slots,
            epoch=words[EPOCH],
            writing=words[WRITING] == head + 1,
            reading=words[READING] == tail + 1,
            producer_blocked_s=words[PRODUCER_BLOCKED_NS] / 1e9,
            consumer_blocked_s=words[CONSUMER_BLOCKED_NS] / 1e9,
        )

    @property
    def producer_process(self) -> ProcessId:
        """The process that took the producing end last; pid 0: none yet."""
        return ProcessId(self.words[PRODUCER_CLAIM], self.words[PRODUCER_CLAIM + 1])

    @property
    def consumer_process(self) -> ProcessId:
        return ProcessId(self.words[CONSUMER_CLAIM], self.words[CONSUMER_CLAIM + 1])

    def slot_payload(self, slot: int) -> np.ndarray:
        """A slot's record as bytes, [payload_bytes] uint8."""
        start = 8 * slot_start(self.spec, slot) + CACHE_LINE_BYTES
        return self._segment.payload[start : start + self.spec.layout.payload_bytes]

    def close(self) -> None:
        self.words = memoryview(b"")
        self._segment.close()
        self.space_bell.close()
        self.items_bell.close()

    def unlink(self) -> None:
        """Remove the ring's names, except those of shared doorbells."""
        self._segment.unlink()
        if not self.spec.producer_bell:
            self.space_bell.unlink()
        if not self.spec.consumer_bell:
            self.items_bell.unlink()


def slot_start(spec: RingSpec, slot: int) -> int:
    """Word offset of a slot's header line."""
    return CONTROL_WORDS + slot * (spec.slot_bytes // 8)


def bank_start(tail: int) -> int:
    """Word offset of the bank that is valid while TAIL is `tail`."""
    return BANKS + (tail % 2) * BANK_WORDS
