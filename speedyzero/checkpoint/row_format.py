"""Rows of a shard as bytes: what one block of the replay log holds, compressed.

A block is `ticks` consecutive rows of all of an actor's lanes: every chosen field in turn, lane after lane, time
running within a lane. Nothing is subtracted: zstd finds the frame before by itself, `ticks` of a lane lying together
(bytes a frame: `benchmarks/bench_checkpoint.py`).

Axes: E lanes of one actor, n ticks, ... a field's own axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard

if TYPE_CHECKING:  # a shard's module imports torch, which a reader of the log can do without
    from speedyzero.replay.shard import Shard, ShardShape

ZSTD_LEVEL = 3
NOT_IN_ROWS = ("ticks", "env_steps", "priority", "stamp", "largest_priority")  # a checkpoint keeps those itself


@dataclass(frozen=True)
class RowFormat:
    """The fields of a row and the lanes that each actor feeds."""

    actors: int
    lanes_per_actor: int
    fields: tuple[tuple[str, str, tuple[int, ...]], ...]  # name, type, shape within a row

    @classmethod
    def of(cls, shape: ShardShape) -> RowFormat:
        """Of every array of a shard that has a row for each tick, but those that a checkpoint keeps itself."""
        fields = []
        for name, (dtype, size) in shape.fields().items():
            if name not in NOT_IN_ROWS:
                assert size[:2] == (shape.lanes, shape.rows), f"{name} is no array of rows: {size}"
                fields.append((name, np.dtype(dtype).newbyteorder("<").str, tuple(size[2:])))
        return cls(shape.actors, shape.lanes // shape.actors, tuple(fields))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.fields)

    @property
    def amended(self) -> tuple[str, ...]:
        """The fields that may change after a row was written: all but the frame, by far the largest."""
        return tuple(name for name in self.names if name != "frame")

    def tick_bytes(self, names: Iterable[str]) -> int:
        """Bytes of one tick of an actor's lanes."""
        return self.lanes_per_actor * sum(
            np.dtype(dtype).itemsize * math.prod(shape) for name, dtype, shape in self.fields if name in set(names)
        )

    def compress(self, shard: Shard, *, actor: int, first_row: int, ticks: int, names: tuple[str, ...]) -> bytes:
        """The rows first_row .. first_row + ticks of an actor's lanes, which the shard must still hold."""
        block = np.empty(ticks * self.tick_bytes(names), np.uint8)
        for name, columns in self._views(block, ticks, names):
            for part, slots in runs_of(first_row, ticks, shard.rows):
                columns[:, part] = getattr(shard, name)[_lanes(shard, actor), slots]
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(block.data)

    def decompress(self, payload: bytes, *, ticks: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The columns of a block, [E, n, ...] each. Raises ValueError where it is not of the size it should be."""
        expected = ticks * self.tick_bytes(names)
        try:
            # Asked beforehand: zstandard makes room for whatever a frame's header claims.
            size = zstandard.get_frame_parameters(payload).content_size
            if size != expected:
                raise ValueError(f"the block holds {size} bytes where {ticks} ticks need {expected}")
            block = np.frombuffer(zstandard.ZstdDecompressor().decompress(payload), np.uint8)
        except zstandard.ZstdError as error:
            raise ValueError(f"the block cannot be decompressed: {error}") from error
        return dict(self._views(block, ticks, names))

    def difference(self, other: RowFormat) -> str:
        """The first thing in which two formats differ: what it is here and what there; empty where they are equal."""
        pairs = zip_longest(self._in_words(), other._in_words(), fillvalue="no more fields")
        return next((f"{here}, not {there}" for here, there in pairs if here != there), "")

    def to_json(self) -> dict[str, Any]:
        return {
            "actors": self.actors,
            "lanes_per_actor": self.lanes_per_actor,
            "fields": [[name, dtype, list(shape)] for name, dtype, shape in self.fields],
        }

    @classmethod
    def from_json(cls, content: Any) -> RowFormat:
        """Raises ValueError for anything that `to_json` does not make."""
        try:
            fields = tuple((str(name), np.dtype(dtype).str, tuple(shape)) for name, dtype, shape in content["fields"])
            result = cls(content["actors"], content["lanes_per_actor"], fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no description of rows: {error!r}") from error
        if result.to_json() != content:
            raise ValueError("no description of rows")
        return result

    def _in_words(self) -> list[str]:
        fields = [f"{name} of {dtype} {list(shape)}" for name, dtype, shape in self.fields]
        return [f"{self.actors} actors", f"{self.lanes_per_actor} lanes of each actor", *fields]

    def _views(self, block: np.ndarray, ticks: int, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
        """Each chosen field's columns in a block, [E, n, ...]."""
        begin = 0
        for name, dtype, shape in self.fields:
            if name in names:
                size = (self.lanes_per_actor, ticks, *shape)
                end = begin + math.prod(size) * np.dtype(dtype).itemsize
                yield name, np.ndarray(size, dtype, block, begin)
                begin = end


def put_rows(
    shard: Shard, columns: Mapping[str, np.ndarray], *, actor: int, first_row: int, keep_from: int = 0
) -> None:
    """Write a block's columns to where they lie in a shard, without the rows before `keep_from`."""
    for name, column in columns.items():
        first = max(first_row, keep_from)
        column = column[:, first - first_row :]
        for part, slots in runs_of(first, column.shape[1], shard.rows):
            getattr(shard, name)[_lanes(shard, actor), slots] = column[:, part]


def runs_of(first_row: int, ticks: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Consecutive rows as runs that do not wrap: where in the block, and in which slots of a lane."""
    done = 0
    while done < ticks:
        slot = (first_row + done) % rows
        count = min(ticks - done, rows - slot)
        yield slice(done, done + count), slice(slot, slot + count)
        done += count


def _lanes(shard: Shard, actor: int) -> slice:
    lanes = shard.lanes_of(actor)
    return slice(lanes[0], lanes[-1] + 1)
