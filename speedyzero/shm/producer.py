"""The writing end of a ring. The protocol: `ring.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic

from speedyzero.shm.checksum import checksum
from speedyzero.shm.doorbell import deadline_after, wait_until
from speedyzero.shm.layout import R
from speedyzero.shm.liveness import claim
from speedyzero.shm.ring_memory import (
    CHECKSUM,
    DROPPED_FULL,
    EPOCH,
    HEAD,
    PRODUCER_BLOCKED_NS,
    PRODUCER_CLAIM,
    SEQUENCE,
    SLOT_EPOCH,
    TAIL,
    WRITING,
    RingMemory,
    slot_start,
)


class Producer(Generic[R]):
    """Writes records in place into the ring's slots. One process, one thread at a time."""

    def __init__(self, ring: RingMemory[R]):
        spec = ring.spec
        self._ring, self._words, self._slots = ring, ring.words, spec.slots
        claim(self._words, PRODUCER_CLAIM, what=f"the producing end of ring {spec.name}")
        self._words[WRITING] = 0
        self.epoch: int = self._words[EPOCH] + 1
        self._words[EPOCH] = self.epoch
        self._head: int = self._words[HEAD]
        self._headers = [slot_start(spec, slot) for slot in range(spec.slots)]
        self._payloads = [ring.slot_payload(slot) for slot in range(spec.slots)]
        self._records = [spec.layout.views(payload, writable=True) for payload in self._payloads]
        self._open = False

    @property
    def published(self) -> int:
        """Records published by this producer and its predecessors."""
        return self._head

    @property
    def has_space(self) -> bool:
        return self._head - self._words[TAIL] < self._slots

    def begin(self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> R | None:
        """The next free slot as a record of writable arrays; None: timeout or `stop()`.

        Fill every field (plain numbers by `record.x[...] = value`, long arrays fastest by `copy_into`), since the slot
        holds old bytes; then `commit()` or `abort()`.
        """
        assert not self._open, "commit or abort the record begun before"
        if not self.has_space and not self._wait(deadline_after(timeout_s), stop):
            return None
        self._open = True
        self._words[WRITING] = self._head + 1
        return self._records[self._head % self._slots]

    def commit(self) -> None:
        """Publish the record begun last."""
        assert self._open, "no record has been begun"
        words, slot, number = self._words, self._head % self._slots, self._head + 1
        header = self._headers[slot]
        words[header + CHECKSUM] = checksum(self._payloads[slot], number, self.epoch)
        words[header + SLOT_EPOCH] = self.epoch
        words[header + SEQUENCE] = number
        words[HEAD] = number
        words[WRITING] = 0
        self._head, self._open = number, False
        self._ring.items_bell.notify()

    def abort(self) -> None:
        """Return the slot begun last without publishing it."""
        assert self._open, "no record has been begun"
        self._words[WRITING] = 0
        self._open = False

    @contextmanager
    def writing(self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> Iterator[R | None]:
        """`begin`, and on exit `commit`, or `abort` after an exception. Yields None where `begin` returns None."""
        record = self.begin(timeout_s=timeout_s, stop=stop)
        try:
            yield record
        except BaseException:
            if record is not None:
                self.abort()
            raise
        if record is not None:
            self.commit()

    def put(self, record: R, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None) -> bool:
        """Copy a whole record in and publish it; False: timeout or `stop()`.

        Raises:
            ValueError: a field does not fit the layout (nothing is published).
        """
        with self.writing(timeout_s=timeout_s, stop=stop) as views:
            if views is None:
                return False
            self._ring.spec.layout.copy_in(record, views)
        return True

    def put_or_drop(self, record: R) -> bool:
        """Put without waiting, for edges that may lose records; False: the ring was full and the drop is counted."""
        if self.put(record):
            return True
        self._words[DROPPED_FULL] += 1
        return False

    def _wait(self, deadline: float, stop: Callable[[], bool] | None) -> bool:
        bell, blocked = self._ring.space_bell, self._add_blocked_ns
        return wait_until(lambda: self.has_space, bell, deadline=deadline, stop=stop, add_blocked_ns=blocked)

    def _add_blocked_ns(self, waited_ns: int) -> None:
        self._words[PRODUCER_BLOCKED_NS] += waited_ns
