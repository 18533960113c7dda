"""The reading end of a ring. The protocol: `ring.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic

from speedyzero.shm.checksum import checksum
from speedyzero.shm.doorbell import deadline_after, wait_until
from speedyzero.shm.layout import R
from speedyzero.shm.liveness import claim
from speedyzero.shm.ring_memory import (
    BANK_CONSUMED,
    BANK_DROPPED,
    BANK_EPOCH,
    BANK_WORDS,
    CHECKSUM,
    CONSUMER_BLOCKED_NS,
    CONSUMER_CLAIM,
    EPOCH,
    HEAD,
    READING,
    SEQUENCE,
    SLOT_EPOCH,
    TAIL,
    Drop,
    RingMemory,
    bank_start,
    slot_start,
)


class Consumer(Generic[R]):
    """Reads records in place and frees their slots. One process, one thread at a time."""

    def __init__(self, ring: RingMemory[R]):
        spec = ring.spec
        self._ring, self._words, self._slots, self._layout = ring, ring.words, spec.slots, spec.layout
        claim(self._words, CONSUMER_CLAIM, what=f"the consuming end of ring {spec.name}")
        self._words[READING] = 0
        self._tail: int = self._words[TAIL]
        start = bank_start(self._tail)
        self._bank = [self._words[start + word] for word in range(BANK_WORDS)]
        self._headers = [slot_start(spec, slot) for slot in range(spec.slots)]
        self._payloads = [ring.slot_payload(slot) for slot in range(spec.slots)]
        self._records = [spec.layout.views(payload, writable=False) for payload in self._payloads]
        self._has_numbers = any(not field.shape for _, field in spec.layout.fields)
        self._open = False

    @property
    def freed(self) -> int:
        """Records consumed or dropped by this consumer and its predecessors; also the next record's number."""
        return self._tail

    @property
    def consumed(self) -> int:
        """Records consumed by this consumer and its predecessors."""
        return self._bank[BANK_CONSUMED]

    @property
    def epoch(self) -> int:
        """The producer epoch of the record begun or freed last; each replacement of the producer increments it."""
        if self._open:
            return self._words[self._headers[self._tail % self._slots] + SLOT_EPOCH]
        return self._bank[BANK_EPOCH]

    @property
    def has_record(self) -> bool:
        return self._words[HEAD] > self._tail

    def begin(self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> R | None:
        """The oldest record, as read-only arrays in the slot; None: timeout or `stop()`.

        It stays valid until `release()` or `discard()`. A record with a wrong stamp or checksum is never returned:
        it is dropped and counted by reason.
        """
        assert not self._open, "release or discard the record begun before"
        deadline = deadline_after(timeout_s)
        while self.has_record or self._wait(deadline, stop):
            self._words[READING] = self._tail + 1
            fault = self._fault()
            if fault is None:
                self._open = True
                views = self._records[self._tail % self._slots]
                return self._layout.numbers(views) if self._has_numbers else views
            self._free(BANK_DROPPED + fault)
        return None

    def release(self) -> None:
        """Free the slot of the record begun last and count it as consumed."""
        self._end(BANK_CONSUMED)

    def discard(self) -> None:
        """Free the slot of the record begun last and count it as dropped (`Drop.DISCARDED`)."""
        self._end(BANK_DROPPED + Drop.DISCARDED)

    @contextmanager
    def reading(self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> Iterator[R | None]:
        """`begin`, and `release` on exit. After an exception the record is kept and can be begun again."""
        record = self.begin(timeout_s=timeout_s, stop=stop)
        try:
            yield record
        except BaseException:
            self._open = False
            raise
        if self._open:  # the block may have released or discarded it
            self.release()

    def get(self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> R | None:
        """Copy the oldest record out and free its slot; None: timeout or `stop()`."""
        with self.reading(timeout_s=timeout_s, stop=stop) as record:
            return None if record is None else self._layout.copy_out(self._records[self._tail % self._slots])

    def _fault(self) -> Drop | None:
        """Why the record at TAIL is invalid; None: it is valid."""
        words, slot, number = self._words, self._tail % self._slots, self._tail + 1
        header = self._headers[slot]
        epoch = words[header + SLOT_EPOCH]
        if words[header + SEQUENCE] != number:
            return Drop.SEQUENCE
        if not self._bank[BANK_EPOCH] <= epoch <= words[EPOCH]:
            return Drop.EPOCH
        if words[header + CHECKSUM] != checksum(self._payloads[slot], number, epoch):
            return Drop.CHECKSUM
        return None

    def _end(self, count: int) -> None:
        assert self._open, "no record has been begun"
        self._bank[BANK_EPOCH] = self.epoch
        self._open = False
        self._free(count)

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
        self._ring.space_bell.notify()

    def _wait(self, deadline: float, stop: Callable[[], bool] | None) -> bool:
        bell, blocked = self._ring.items_bell, self._add_blocked_ns
        return wait_until(lambda: self.has_record, bell, deadline=deadline, stop=stop, add_blocked_ns=blocked)

    def _add_blocked_ns(self, waited_ns: int) -> None:
        self._words[CONSUMER_BLOCKED_NS] += waited_ns
