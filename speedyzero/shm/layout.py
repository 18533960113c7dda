"""The byte layout of a record: a dataclass whose fields are numpy arrays (or numbers) of fixed type and shape."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

import numpy as np

from speedyzero.shm.copying import copy_into
from speedyzero.shm.segment import CACHE_LINE_BYTES

R = TypeVar("R")


@dataclass(frozen=True)
class Field:
    """An array's type and shape. Shape () is a plain number; a length may be 0."""

    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)


@dataclass(frozen=True)
class Stored:
    """A field's type and named axes: `Annotated[np.ndarray, Stored("float32", "B, A")]`. No axes: a plain number."""

    dtype: str
    axes: str = ""

    def field(self, lengths: Mapping[str, int]) -> Field:
        return Field(self.dtype, tuple(lengths[axis] for axis in self.axes.split(", ") if self.axes))


def round_up(size_bytes: int, multiple: int = CACHE_LINE_BYTES) -> int:
    return -(-size_bytes // multiple) * multiple


def digest(*description: Any) -> int:
    """A 64-bit digest of a description's repr."""
    return int.from_bytes(hashlib.sha256(repr(description).encode()).digest()[:8], "little")


@dataclass(frozen=True)
class RecordLayout(Generic[R]):
    """The fields of one record, in order. Picklable; both ends of an edge need equal layouts."""

    record_type: type[R]
    fields: tuple[tuple[str, Field], ...]

    @classmethod
    def stored(cls, record_type: type[R], lengths: Mapping[str, int], **others: Field) -> RecordLayout[R]:
        """From the fields' `Stored` annotations. lengths: by axis. others: the fields without an annotation."""
        stored = {
            name: annotation.field(lengths)
            for name, hint in get_type_hints(record_type, include_extras=True).items()
            for annotation in getattr(hint, "__metadata__", ())
            if isinstance(annotation, Stored)
        }
        names = [field.name for field in dataclasses.fields(record_type)]  # type: ignore[arg-type]
        known = others | stored
        return cls(record_type, tuple((name, known[name]) for name in names))

    @property
    def offsets(self) -> tuple[int, ...]:
        """First byte of each field. Fields of a cache line or more start on a cache line; shorter ones are packed."""
        offsets, end = [], 0
        for _, field in self.fields:
            align = CACHE_LINE_BYTES if field.nbytes >= CACHE_LINE_BYTES else np.dtype(field.dtype).alignment
            offsets.append(round_up(end, align))
            end = offsets[-1] + field.nbytes
        return tuple(offsets)

    @property
    def payload_bytes(self) -> int:
        """Bytes of one record, whole cache lines."""
        return round_up(self.offsets[-1] + self.fields[-1][1].nbytes)

    @property
    def schema(self) -> int:
        return digest(self.record_type.__qualname__, self.fields, self.offsets)

    def views(self, payload: np.ndarray, *, writable: bool) -> R:
        """A record of arrays in `payload`, [payload_bytes] uint8. Plain numbers are arrays of shape ()."""
        views = {}
        for (name, field), offset in zip(self.fields, self.offsets, strict=True):
            view = payload[offset : offset + field.nbytes].view(field.dtype).reshape(field.shape)
            view.flags.writeable = writable
            views[name] = view
        return self.record_type(**views)

    def copy_in(self, record: R, views: R) -> None:
        """Copy every field of a record into the arrays of `views`.

        Raises:
            ValueError: a field's shape or type does not fit (no broadcasting, no cast to a narrower kind).
        """
        for name, _ in self.fields:
            try:
                copy_into(getattr(views, name), getattr(record, name))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{self.record_type.__name__}.{name} {error}") from error

    def record(self, views: R, *, copied: bool = False) -> R:
        """The record with its fields of shape () as Python numbers, and its arrays in place or in private memory."""
        values = {}
        for name, field in self.fields:
            view = getattr(views, name)
            values[name] = view.item() if not field.shape else view.copy() if copied else view
        return self.record_type(**values)
