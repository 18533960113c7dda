"""Rows of a shard as bytes: the content of one block on disk.

A block is `ticks` consecutive rows of all of an actor's lanes, ordered by field, then lane, then time. Frames are not
delta-coded: a lane's frames are adjacent, so zstd finds the repetition (bytes per frame:
`benchmarks/bench_checkpoint.py`).

Axes: E lanes of one actor, n ticks, ... a field's own axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import zstandard

if TYPE_CHECKING:
    from speedyzero.replay.shard import Shard, ShardShape

ZSTD_LEVEL = 3
NOT_IN_ROWS = ("ticks", "env_steps", "priority", "stamp", "largest_priority")  # stored in the checkpoint itself


@dataclass(frozen=True)
class RowFormat:
    """The fields of a row and the lanes that each actor feeds."""

    actors: int
    lanes_per_actor: int
    fields: tuple[tuple[str, str, tuple[int, ...]], ...]  # name, type, shape within a row

    @classmethod
    def of(cls, shape: ShardShape) -> RowFormat:
        """The format of every array with a row per tick, except those in `NOT_IN_ROWS`."""
        fields = []
        for name, (dtype, size) in shape.fields().items():
            if name not in NOT_IN_ROWS:
                assert size[:2] == (shape.lanes, shape.rows), f"{name} is not an array of rows: {size}"
                fields.append((name, np.dtype(dtype).newbyteorder("<").str, tuple(size[2:])))
        return cls(shape.actors, shape.lanes // shape.actors, tuple(fields))

    @property
    def tick_bytes(self) -> int:
        """Bytes of one tick of an actor's lanes."""
        return self.lanes_per_actor * sum(
            np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape in self.fields
        )

    def compress(self, shard: Shard, *, actor: int, first_row: int, ticks: int) -> bytes:
        """The rows from first_row up to first_row + ticks of an actor's lanes, which the shard must still hold."""
        block = np.empty(ticks * self.tick_bytes, np.uint8)
        for name, columns in self._views(block, ticks):
            for part, slots in runs_of(first_row, ticks, shard.rows):
                columns[:, part] = getattr(shard, name)[_lanes(shard, actor), slots]
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(block.data)

    def decompress(self, payload: bytes, *, ticks: int) -> dict[str, np.ndarray]:
        """The columns of a block, [E, n, ...] each, by field. Raises ValueError if its size is wrong."""
        expected = ticks * self.tick_bytes
        try:
            # Checked first, because zstandard allocates the size that the frame's header gives.
            size = zstandard.get_frame_parameters(payload).content_size
            if size != expected:
                raise ValueError(f"the block holds {size} bytes where {ticks} ticks need {expected}")
            block = np.frombuffer(zstandard.ZstdDecompressor().decompress(payload), np.uint8)
        except zstandard.ZstdError as error:
            raise ValueError(f"the block cannot be decompressed: {error}") from error
        return dict(self._views(block, ticks))

    def description(self) -> list[str]:
        """For a checkpoint: formats are equal if their descriptions are."""
        fields = [f"{name} of {dtype} {list(shape)}" for name, dtype, shape in self.fields]
        return [f"{self.actors} actors", f"{self.lanes_per_actor} lanes of each actor", *fields]

    def _views(self, block: np.ndarray, ticks: int) -> Iterator[tuple[str, np.ndarray]]:
        """The columns of the fields in a block, [E, n, ...] each."""
        begin = 0
        for name, dtype, shape in self.fields:
            size = (self.lanes_per_actor, ticks, *shape)
            yield name, np.ndarray(size, dtype, block, begin)
            begin += math.prod(size) * np.dtype(dtype).itemsize


def put_rows(
    shard: Shard, columns: Mapping[str, np.ndarray], *, actor: int, first_row: int, keep_from: int = 0
) -> None:
    """Write a block's columns into a shard, without the rows before `keep_from`."""
    for name, column in columns.items():
        first = max(first_row, keep_from)
        column = column[:, first - first_row :]
        for part, slots in runs_of(first, column.shape[1], shard.rows):
            getattr(shard, name)[_lanes(shard, actor), slots] = column[:, part]


def runs_of(first_row: int, ticks: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Split consecutive rows into runs that do not wrap: the slice of the block and the slots of a lane."""
    done = 0
    while done < ticks:
        slot = (first_row + done) % rows
        count = min(ticks - done, rows - slot)
        yield slice(done, done + count), slice(slot, slot + count)
        done += count


def _lanes(shard: Shard, actor: int) -> slice:
    lanes = shard.lanes_of(actor)
    return slice(lanes[0], lanes[-1] + 1)
