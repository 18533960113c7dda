"""Named arrays that one process writes and others read in place.

Synchronisation is the caller's: the writer stores a counter (for instance on a board) after the elements, and x86-64
keeps stores in order. Readers map the pages read-only.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np

from speedyzero.shm.layout import Field, digest, round_up
from speedyzero.shm.liveness import claim
from speedyzero.shm.run import Run
from speedyzero.shm.segment import HEADER_BYTES, Segment, SegmentKind


@dataclass(frozen=True)
class SharedArraysSpec:
    """fields: (name, type and shape) of each array, in order."""

    name: str
    fields: tuple[tuple[str, Field], ...]

    def __post_init__(self):
        names = [name for name, _ in self.fields]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"arrays {self.name}: names must be one or more, and each once, not {names}")

    @classmethod
    def of(cls, name: str, **fields: Field) -> SharedArraysSpec:
        return cls(name, tuple(fields.items()))

    @property
    def offsets(self) -> tuple[int, ...]:
        """First byte of each array, at the start of a page; the page before the first array holds the claim."""
        offsets, end = [], mmap.PAGESIZE
        for _, field in self.fields:
            offsets.append(end)
            end += round_up(field.nbytes, mmap.PAGESIZE)
        return tuple(offsets)

    @property
    def kind(self) -> SegmentKind:
        payload_bytes = self.offsets[-1] + round_up(self.fields[-1][1].nbytes, mmap.PAGESIZE)
        return SegmentKind("arrays", digest(self.fields), payload_bytes)

    @property
    def total_bytes(self) -> int:
        """Shared memory used by the arrays."""
        return HEADER_BYTES + self.kind.payload_bytes


class SharedArrays:
    """`arrays[name]` is the array, of the spec's type and shape, writable only in the writing process."""

    def __init__(self, spec: SharedArraysSpec, segment: Segment, writable: bool):
        self.spec, self.writable, self._segment = spec, writable, segment
        if writable:
            claim(segment.words(), 0, what=f"arrays {spec.name}")
        self._arrays: dict[str, np.ndarray] = {}
        for (name, field), offset in zip(spec.fields, spec.offsets, strict=True):
            array = segment.payload[offset : offset + field.nbytes].view(field.dtype).reshape(field.shape)
            array.flags.writeable = writable
            self._arrays[name] = array

    @classmethod
    def create(
        cls, run: Run, spec: SharedArraysSpec, *, writable: bool = False, prefault: bool = False
    ) -> SharedArrays:
        """Create the arrays, initially zero. Memory is always allocated; `prefault` also maps it in this process.

        Raises:
            SegmentError: the name exists, or there is too little space.
        """
        return cls(spec, Segment.create(run, spec.name, spec.kind, prefault=prefault), writable)

    @classmethod
    def attach(cls, run: Run, spec: SharedArraysSpec, *, writable: bool = False, prefault: bool = True) -> SharedArrays:
        """
        Raises:
            SegmentError: there are no such arrays, or they have other names, types or shapes.
            ValueError: writable, but another living process writes them.
        """
        return cls(spec, Segment.attach(run, spec.name, spec.kind, writable=writable, prefault=prefault), writable)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def close(self) -> None:
        self._arrays = {}
        self._segment.close()

    def unlink(self) -> None:
        self._segment.unlink()
