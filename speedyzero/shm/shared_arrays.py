"""Named arrays that one process writes and others read in place.

Synchronisation is the caller's: the writer stores a counter (for instance on a board) after the elements, and x86-64
keeps stores in order. Readers map the pages read-only.
"""

import mmap
from dataclasses import dataclass
from typing import Self

import numpy as np

from speedyzero.shm.layout import Field, digest, round_up
from speedyzero.shm.liveness import claim
from speedyzero.shm.run import Run
from speedyzero.shm.segment import Segment, SegmentKind, SegmentSpec


@dataclass(frozen=True)
class SharedArraysSpec(SegmentSpec):
    """fields: (name, type and shape) of each array, in order."""

    name: str
    fields: tuple[tuple[str, Field], ...]

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


class SharedArrays(Segment[SharedArraysSpec]):
    """`arrays[name]` is the array, of the spec's type and shape, writable only if attached as writable."""

    @classmethod
    def create(cls, run: Run, spec: SharedArraysSpec) -> Self:
        arrays = super().create(run, spec)
        arrays.payload.flags.writeable = False
        return arrays

    @classmethod
    def attach(cls, run: Run, spec: SharedArraysSpec, *, writable: bool = False) -> Self:
        """
        Raises:
            SegmentError: there are no such arrays, or they have other names, types or shapes.
            ValueError: writable, but another living process writes them.
        """
        arrays = super().attach(run, spec, writable=writable)
        if writable:
            claim(arrays.words, 0, what=f"arrays {spec.name}")
        return arrays

    def __getitem__(self, name: str) -> np.ndarray:
        fields = dict(self.spec.fields)
        field, offset = fields[name], dict(zip(fields, self.spec.offsets, strict=True))[name]
        return self.payload[offset : offset + field.nbytes].view(field.dtype).reshape(field.shape)
