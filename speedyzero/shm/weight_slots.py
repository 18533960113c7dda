"""The newest version of one large block of bytes, from one writer process to any number of readers.

Publication n (from 1) goes to slot n % 3:

    writer:  NUMBER[slot] = n -> payload -> VERSION, CHECKSUM -> PUBLISHED = n
    reader:  n = PUBLISHED -> copy slot n % 3 out -> NUMBER[slot] still n? -> checksum of the copy right?

              NUMBER = n              PUBLISHED = n            PUBLISHED = n + 1         NUMBER = n + 3
    n - 3 --------------> WRITING --------------------> NEWEST -----------------> OLDER -----------------> WRITING ...

Slots are not freed: the writer takes the oldest slot even if it is being read, and a reader that was overtaken (the
writer finished two more versions and began a third) discards its copy and reads the newest. A copy is private before it
is verified, so no one uses bytes of two versions. A writer that dies leaves PUBLISHED unchanged; its successor
overwrites the unfinished slot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speedyzero.shm.checksum import checksum
from speedyzero.shm.copying import copy_into
from speedyzero.shm.doorbell import deadline_after
from speedyzero.shm.layout import digest, round_up
from speedyzero.shm.liveness import claim
from speedyzero.shm.run import Run
from speedyzero.shm.segment import HEADER_BYTES, Segment, SegmentKind

SLOTS = 3
PUBLISHED, WRITER_CLAIM = 0, 1
CONTROL_WORDS = 8
NUMBER, VERSION, CHECKSUM = 0, 1, 2
_SLOT_HEADER_WORDS = 8
_POLL_S = 0.005


@dataclass(frozen=True)
class WeightSlotsSpec:
    """size_bytes: size of one version."""

    name: str
    size_bytes: int

    def __post_init__(self):
        if self.size_bytes < 1:
            raise ValueError(f"weight slots {self.name}: size_bytes={self.size_bytes} < 1")

    @property
    def slot_bytes(self) -> int:
        return 8 * _SLOT_HEADER_WORDS + round_up(self.size_bytes)

    @property
    def kind(self) -> SegmentKind:
        return SegmentKind("weights", digest(self.size_bytes), 8 * CONTROL_WORDS + SLOTS * self.slot_bytes)

    @property
    def total_bytes(self) -> int:
        """Shared memory used by the slots."""
        return HEADER_BYTES + self.kind.payload_bytes


@dataclass(frozen=True)
class Publication:
    """One version. data: [size_bytes] uint8, a private copy."""

    number: int  # counts publications, from 1
    version: int  # given by the writer
    data: np.ndarray


class WeightSlots:
    """The memory of the slots. `writer()` publishes; every attached process may create `reader()`s."""

    def __init__(self, spec: WeightSlotsSpec, segment: Segment):
        self.spec, self._segment = spec, segment
        self.words = segment.words()

    @classmethod
    def create(cls, run: Run, spec: WeightSlotsSpec, *, prefault: bool = True) -> WeightSlots:
        """
        Raises:
            SegmentError: the name exists, or there is too little space.
        """
        return cls(spec, Segment.create(run, spec.name, spec.kind, prefault=prefault))

    @classmethod
    def attach(cls, run: Run, spec: WeightSlotsSpec, *, writable: bool = False, prefault: bool = True) -> WeightSlots:
        """writable: only for the process that publishes.

        Raises:
            SegmentError: there are no such slots, or they have another size.
        """
        return cls(spec, Segment.attach(run, spec.name, spec.kind, writable=writable, prefault=prefault))

    @property
    def published(self) -> int:
        """Publications so far."""
        return self.words[PUBLISHED]

    def writer(self) -> WeightWriter:
        """
        Raises:
            ValueError: another living process publishes here, or the slots were attached read-only.
        """
        return WeightWriter(self)

    def reader(self) -> WeightReader:
        return WeightReader(self)

    def slot_payload(self, slot: int) -> np.ndarray:
        """A slot's bytes, [size_bytes] uint8."""
        start = 8 * (slot_start(self.spec, slot) + _SLOT_HEADER_WORDS)
        return self._segment.payload[start : start + self.spec.size_bytes]

    @property
    def writable(self) -> bool:
        return self._segment.writable

    def close(self) -> None:
        self.words = memoryview(b"")
        self._segment.close()

    def unlink(self) -> None:
        self._segment.unlink()


def slot_start(spec: WeightSlotsSpec, slot: int) -> int:
    """Word offset of a slot's header line."""
    return CONTROL_WORDS + slot * (spec.slot_bytes // 8)


class WeightWriter:
    """Publishes versions. One process, one thread at a time."""

    def __init__(self, slots: WeightSlots):
        if not slots.writable:
            raise ValueError(f"weight slots {slots.spec.name} were attached read-only: attach with writable=True")
        self._slots, self._words = slots, slots.words
        claim(self._words, WRITER_CLAIM, what=f"weight slots {slots.spec.name}")

    def publish(self, version: int, data: np.ndarray) -> int:
        """Make `data` (any contiguous array of size_bytes bytes) the newest; returns the publication's number.

        Raises:
            ValueError: the size is wrong, or the version negative.
        """
        spec, words = self._slots.spec, self._words
        block = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        if block.size != spec.size_bytes:
            raise ValueError(f"weight slots {spec.name} take {spec.size_bytes} bytes, not {block.size}")
        if version < 0:
            raise ValueError(f"weight slots {spec.name}: version {version} < 0")
        number = words[PUBLISHED] + 1
        header, payload = slot_start(spec, number % SLOTS), self._slots.slot_payload(number % SLOTS)
        words[header + NUMBER] = number
        copy_into(payload, block)
        words[header + VERSION] = version
        words[header + CHECKSUM] = checksum(payload, number, version)
        words[PUBLISHED] = number
        return number


class WeightReader:
    """Reads the newest version, each at most once.

    overtaken: copies discarded because the writer reused the slot. corrupt: publications with a wrong checksum, which
    are never returned.
    """

    def __init__(self, slots: WeightSlots):
        self._slots, self._words = slots, slots.words
        self._seen = 0
        self.overtaken = 0
        self.corrupt = 0

    @property
    def has_newer(self) -> bool:
        return self._words[PUBLISHED] > self._seen

    def read(
        self, *, timeout_s: float = 0.0, stop: Callable[[], bool] | None = None, out: np.ndarray | None = None
    ) -> Publication | None:
        """The newest version, if this reader has not returned it yet; None: timeout or `stop()`.

        out: [size_bytes] uint8 to copy into, with arbitrary content when None is returned; default: a new array.
        """
        deadline = deadline_after(timeout_s)
        while True:
            if self.has_newer:
                publication = self._copy(np.empty(self._slots.spec.size_bytes, np.uint8) if out is None else out)
                if publication is not None:
                    return publication
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or (stop is not None and stop()):
                return None
            if not self.has_newer:
                time.sleep(min(remaining_s, _POLL_S))

    def _copy(self, out: np.ndarray) -> Publication | None:
        spec, words = self._slots.spec, self._words
        number = words[PUBLISHED]
        header = slot_start(spec, number % SLOTS)
        version, stamped = words[header + VERSION], words[header + CHECKSUM]
        out[:] = self._slots.slot_payload(number % SLOTS)
        if words[header + NUMBER] != number:
            self.overtaken += 1
            return None
        self._seen = number  # valid or not, these bytes will not change
        if checksum(out, number, version) != stamped:
            self.corrupt += 1
            return None
        return Publication(number, version, out)
