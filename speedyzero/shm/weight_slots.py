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

from dataclasses import dataclass
from typing import Self

import numpy as np

from speedyzero.shm.checksum import checksum
from speedyzero.shm.copying import copy_into
from speedyzero.shm.layout import digest, round_up
from speedyzero.shm.liveness import claim
from speedyzero.shm.run import Run
from speedyzero.shm.segment import Segment, SegmentKind, SegmentSpec

SLOTS = 3
PUBLISHED, WRITER_CLAIM = 0, 1
CONTROL_WORDS = 8
NUMBER, VERSION, CHECKSUM = 0, 1, 2
_SLOT_HEADER_WORDS = 8


@dataclass(frozen=True)
class WeightSlotsSpec(SegmentSpec):
    """size_bytes: size of one version."""

    name: str
    size_bytes: int

    @property
    def slot_bytes(self) -> int:
        return 8 * _SLOT_HEADER_WORDS + round_up(self.size_bytes)

    @property
    def kind(self) -> SegmentKind:
        return SegmentKind("weights", digest(self.size_bytes), 8 * CONTROL_WORDS + SLOTS * self.slot_bytes)


@dataclass(frozen=True)
class Publication:
    """One version. data: [size_bytes] uint8, a private copy."""

    number: int  # counts publications, from 1
    version: int  # given by the writer
    data: np.ndarray


class WeightSlots(Segment[WeightSlotsSpec]):
    """The memory of the slots. `writer()` publishes; every attached process may create `reader()`s."""

    @classmethod
    def attach(cls, run: Run, spec: WeightSlotsSpec, *, writable: bool = False) -> Self:
        """writable: only for the process that publishes. Raises SegmentError as `Segment.attach` does."""
        return super().attach(run, spec, writable=writable)

    def writer(self) -> WeightWriter:
        """
        Raises:
            ValueError: another living process publishes here.
        """
        return WeightWriter(self)

    def reader(self) -> WeightReader:
        return WeightReader(self)

    def slot_payload(self, slot: int) -> np.ndarray:
        """A slot's bytes, [size_bytes] uint8."""
        start = 8 * (slot_start(self.spec, slot) + _SLOT_HEADER_WORDS)
        return self.payload[start : start + self.spec.size_bytes]


def slot_start(spec: WeightSlotsSpec, slot: int) -> int:
    """Word offset of a slot's header line."""
    return CONTROL_WORDS + slot * (spec.slot_bytes // 8)


class WeightWriter:
    """Publishes versions. One process, one thread at a time."""

    def __init__(self, slots: WeightSlots):
        self._slots, self._words = slots, slots.words
        claim(self._words, WRITER_CLAIM, what=f"weight slots {slots.spec.name}")

    def publish(self, version: int, data: np.ndarray) -> None:
        """Make `data` (any contiguous array of size_bytes bytes) the newest.

        Raises:
            ValueError: the size is wrong.
        """
        spec, words = self._slots.spec, self._words
        block = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        number = words[PUBLISHED] + 1
        header, payload = slot_start(spec, number % SLOTS), self._slots.slot_payload(number % SLOTS)
        words[header + NUMBER] = number
        copy_into(payload, block)
        words[header + VERSION] = version
        words[header + CHECKSUM] = checksum(payload, number, version)
        words[PUBLISHED] = number


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

    def read(self) -> Publication | None:
        """The newest version; None if this reader has returned it, or if the copy was overtaken or corrupt."""
        if not self.has_newer:
            return None
        spec, words = self._slots.spec, self._words
        number = words[PUBLISHED]
        header = slot_start(spec, number % SLOTS)
        version, stamped = words[header + VERSION], words[header + CHECKSUM]
        data = self._slots.slot_payload(number % SLOTS).copy()
        if words[header + NUMBER] != number:
            self.overtaken += 1
            return None
        self._seen = number  # valid or not, these bytes will not change
        if checksum(data, number, version) != stamped:
            self.corrupt += 1
            return None
        return Publication(number, version, data)
