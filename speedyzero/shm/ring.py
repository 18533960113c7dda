"""A ring of fixed-size records in shared memory from one producer process to one consumer process.

A slot's state follows from counters, each with one writer. Slot k of n holds record number r (from 0), r % n = k:

              producer: WRITING = r + 1          producer: HEAD = r + 1
    FREE ---------------------------> WRITING -------------------------> READY
     ^                                   |                                 |
     |     producer dies:                |                                 |  consumer: READING = r + 1
     |<----------------------------------+                                 v
     +------------------------------------------------------------------ READING
         consumer frees: TAIL = r + 1 (consumed, or dropped for a reason)  |  ^ consumer dies:
                                                                           +--+ its successor reads r again

Only the consumer frees. Each arrow is one aligned 8-byte store, so a SIGKILL comes either before or after it. The
producer stores payload, stamps (sequence, epoch, checksum), then HEAD; x86-64 keeps plain stores in that order. A
producer that dies loses at most the one unpublished record: its successor starts at HEAD with the next epoch. The
consumer's counts are in two banks, and TAIL's parity selects the valid one, so one store frees and counts a slot:

    produced = consumed + dropped (by reason) + in flight        exactly, after any process died at any point

Nothing here waits: a producer asks for a free slot, a consumer for a record, and each is notified (`doorbell.py`) when
to ask again.

    Segment:  constants | producer's line | consumer's line | bank 0 | bank 1 | spare | slot 0 | slot 1 | ...
    Slot:     sequence, epoch, checksum (one cache line) | record
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Generic

import numpy as np

from speedyzero.shm.checksum import checksum
from speedyzero.shm.doorbell import Doorbell
from speedyzero.shm.layout import R, RecordLayout, digest
from speedyzero.shm.liveness import claim
from speedyzero.shm.segment import CACHE_LINE_BYTES, Segment, SegmentKind, SegmentSpec

# Word offsets into the control block. Each line of 8 words has one writer.
HEAD, EPOCH, WRITING, PRODUCER_CLAIM, DROPPED_FULL = 8, 9, 10, 11, 13
TAIL, READING, CONSUMER_CLAIM = 16, 17, 18
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


@dataclass(frozen=True)
class RingSpec(SegmentSpec, Generic[R]):
    """The parameters that both ends must share.

    producer_bell, consumer_bell: the doorbell that tells the producer of free slots (the consumer of records), usually
    shared with other rings; empty: no one is notified.
    """

    name: str
    layout: RecordLayout[R]
    slots: int
    producer_bell: str = ""
    consumer_bell: str = ""

    @property
    def slot_bytes(self) -> int:
        return CACHE_LINE_BYTES + self.layout.payload_bytes

    @property
    def kind(self) -> SegmentKind:
        payload_bytes = 8 * CONTROL_WORDS + self.slots * self.slot_bytes
        return SegmentKind("ring", digest(self.layout.schema, self.slots), payload_bytes)


@dataclass(frozen=True)
class RingStats:
    """A consistent snapshot of a ring's counters."""

    produced: int  # published, or dropped because the ring was full
    consumed: int
    dropped: dict[str, int]  # by reason
    in_flight: int  # published and not yet freed

    @property
    def unaccounted(self) -> int:
        """Records lost or counted twice; must be 0."""
        return self.produced - self.consumed - sum(self.dropped.values()) - self.in_flight


class Ring(Segment[RingSpec[R]], Generic[R]):
    """A mapped ring. Any attached process may read `stats()`; two of them take the ends."""

    def producer(self) -> Producer[R]:
        """Take the producing end: start a new epoch after the last published record.

        Raises:
            ValueError: another living process holds it.
            SegmentError: the doorbell of the other end does not exist.
        """
        return Producer(self)

    def consumer(self) -> Consumer[R]:
        """Take the consuming end, starting at the first record that has not been freed. Raises as `producer` does."""
        return Consumer(self)

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
        )

    def slot_payload(self, slot: int) -> np.ndarray:
        """A slot's record as bytes, [payload_bytes] uint8."""
        start = 8 * slot_start(self.spec, slot) + CACHE_LINE_BYTES
        return self.payload[start : start + self.spec.layout.payload_bytes]


class _End(Generic[R]):
    """What both ends hold: every slot's header and record, and the other side's doorbell."""

    def __init__(self, ring: Ring[R], other_bell: str, *, writable: bool):
        spec = ring.spec
        self._words, self._slots, self._layout = ring.words, spec.slots, spec.layout
        self._headers = [slot_start(spec, slot) for slot in range(spec.slots)]
        self._payloads = [ring.slot_payload(slot) for slot in range(spec.slots)]
        self._records = [spec.layout.views(payload, writable=writable) for payload in self._payloads]
        self._other_bell = Doorbell.attach(ring.run, other_bell) if other_bell else None

    def _notify(self) -> None:
        if self._other_bell is not None:
            self._other_bell.notify()


class Producer(_End[R]):
    """Writes records in place into the ring's slots. One process, one thread at a time."""

    def __init__(self, ring: Ring[R]):
        super().__init__(ring, ring.spec.consumer_bell, writable=True)
        words = self._words
        claim(words, PRODUCER_CLAIM, what=f"the producing end of ring {ring.spec.name}")
        words[WRITING] = 0
        self.epoch: int = words[EPOCH] + 1
        words[EPOCH] = self.epoch
        self._head: int = words[HEAD]

    @property
    def published(self) -> int:
        """Records published by this producer and its predecessors."""
        return self._head

    @property
    def has_space(self) -> bool:
        return self._head - self._words[TAIL] < self._slots

    def begin(self) -> R | None:
        """The next free slot as a record of writable arrays; None: the ring is full.

        Fill every field (plain numbers by `record.x[...] = value`, long arrays fastest by `copy_into`), since the slot
        holds old bytes; then `commit()`.
        """
        if not self.has_space:
            return None
        self._words[WRITING] = self._head + 1
        return self._records[self._head % self._slots]

    def commit(self) -> None:
        """Publish the record begun last."""
        words, slot, number = self._words, self._head % self._slots, self._head + 1
        assert words[WRITING] == number, "no record has been begun"
        header = self._headers[slot]
        words[header + CHECKSUM] = checksum(self._payloads[slot], number, self.epoch)
        words[header + SLOT_EPOCH] = self.epoch
        words[header + SEQUENCE] = number
        words[HEAD] = number
        words[WRITING] = 0
        self._head = number
        self._notify()

    def put(self, record: R) -> bool:
        """Copy a whole record in and publish it; False: the ring is full.

        Raises:
            ValueError: a field does not fit the layout (nothing is published).
        """
        views = self.begin()
        if views is None:
            return False
        self._layout.copy_in(record, views)
        self.commit()
        return True

    def put_or_drop(self, record: R) -> bool:
        """`put`, for edges that may lose records; False: the ring was full and the drop is counted."""
        is_put = self.put(record)
        if not is_put:
            self._words[DROPPED_FULL] += 1
        return is_put


class Consumer(_End[R]):
    """Reads records in place and frees their slots. One process, one thread at a time.

    epoch: the producer epoch of the record begun last; each replacement of the producer increments it.
    """

    def __init__(self, ring: Ring[R]):
        super().__init__(ring, ring.spec.producer_bell, writable=False)
        words = self._words
        claim(words, CONSUMER_CLAIM, what=f"the consuming end of ring {ring.spec.name}")
        words[READING] = 0
        self._tail: int = words[TAIL]
        self._bank = [words[bank_start(self._tail) + word] for word in range(BANK_WORDS)]
        self.epoch: int = self._bank[BANK_EPOCH]

    @property
    def consumed(self) -> int:
        """Records consumed by this consumer and its predecessors."""
        return self._bank[BANK_CONSUMED]

    @property
    def has_record(self) -> bool:
        return self._words[HEAD] > self._tail

    def begin(self) -> R | None:
        """The oldest record, as read-only arrays in the slot until `release()`; None: there is none.

        A record with a wrong stamp or checksum is never returned: it is dropped and counted by reason.
        """
        while self.has_record:
            self._words[READING] = self._tail + 1
            slot = self._tail % self._slots
            epoch = self._words[self._headers[slot] + SLOT_EPOCH]
            fault = self._fault(slot, epoch)
            if fault is None:
                self.epoch = epoch
                return self._layout.record(self._records[slot])
            self._free(BANK_DROPPED + fault)
        return None

    def release(self) -> None:
        """Free the slot of the record begun last and count it as consumed."""
        assert self._words[READING] == self._tail + 1, "no record has been begun"
        self._bank[BANK_EPOCH] = self.epoch
        self._free(BANK_CONSUMED)

    def get(self) -> R | None:
        """Copy the oldest record out and free its slot; None: there is none."""
        record = self.begin()
        if record is not None:
            record = self._layout.record(self._records[self._tail % self._slots], copied=True)
            self.release()
        return record

    def _fault(self, slot: int, epoch: int) -> Drop | None:
        """Why the record at TAIL is invalid; None: it is valid."""
        words, header, number = self._words, self._headers[slot], self._tail + 1
        if words[header + SEQUENCE] != number:
            return Drop.SEQUENCE
        if not self._bank[BANK_EPOCH] <= epoch <= words[EPOCH]:
            return Drop.EPOCH
        if words[header + CHECKSUM] != checksum(self._payloads[slot], number, epoch):
            return Drop.CHECKSUM
        return None

    def _free(self, count: int) -> None:
        """Count the record at TAIL in a word of the bank and free its slot, both by one store."""
        words, tail = self._words, self._tail + 1
        self._bank[count] += 1
        start = bank_start(tail)
        for word in range(BANK_WORDS):
            words[start + word] = self._bank[word]
        words[READING] = 0
        words[TAIL] = tail
        self._tail = tail
        self._notify()


def slot_start(spec: RingSpec, slot: int) -> int:
    """Word offset of a slot's header line."""
    return CONTROL_WORDS + slot * (spec.slot_bytes // 8)


def bank_start(tail: int) -> int:
    """Word offset of the bank that is valid while TAIL is `tail`."""
    return BANKS + (tail % 2) * BANK_WORDS
