"""The replay log: a shard's rows on disk as immutable blocks, each of consecutive ticks of one actor's lanes.

    RUN_DIR/replay/shard-00000.actor-00000.row-000000000064.ticks-64.5f0c6a81d2b94e37.zst

The name says shard (numbered over the whole run), actor, first row and ticks, and ends with the beginning of the
content's sha256: other rows get another name, so no block is ever written over. What it holds: `row_format.py`.

    shard.append(record, actor=a)      log.append(actor=a)      writes a block once the actor's rows fill one
    shard.cut_off(actor=a)             log.cut_off(actor=a)     the rows that it changed are to be written again
    a checkpoint                       log.sync()               writes all rows; the manifest entries of their blocks
    a checkpoint is finished           log.sweep()              deletes blocks that no checkpoint lists

A checkpoint lists the blocks with at least one row that the shard holds. So it adds the blocks of rows that came since
the one before, and a block leaves the list when the shard has overwritten its last row; a restore leaves out the
overwritten rows of the oldest block. Pending rows stay in the shard, uncopied, and are written as they then are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from speedyzero.checkpoint.manifest import (
    BLOCK_PREFIX,
    REPLAY_FOLDER,
    Entry,
    all_listed,
    entry_of,
    read_manifest,
    sweep,
)
from speedyzero.checkpoint.row_format import RowFormat, put_rows
from speedyzero.checkpoint.stored import Checkpoint, resumable
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.system.atomic_file import sync_directory, write_atomically
from speedyzero.system.writer_lock import WriterLock

BLOCK_TICKS, BLOCK_BYTES = 64, 32 << 20  # the limits of a block, before compression
_REWRITTEN_ROWS = 2  # rows of each lane that Shard.cut_off changes
_DIGITS = 16  # of a block's sha256, in its name
_NAME = re.compile(re.escape(BLOCK_PREFIX) + r"shard-(\d+)\.actor-(\d+)\.row-(\d+)\.ticks-(\d+)\.[0-9a-f]+\.zst")

_log = logging.getLogger("speedyzero.checkpoint")


@dataclass(frozen=True)
class Block:
    """A block on disk; what it holds is in its name."""

    name: str  # in manifests
    entry: Entry
    actor: int
    first_row: int
    ticks: int

    @property
    def end(self) -> int:
        """The row after its last one."""
        return self.first_row + self.ticks

    @classmethod
    def of(cls, content: bytes, *, shard: int, actor: int, first_row: int, ticks: int) -> Block:
        entry = entry_of(content)
        place = f"{_prefix(shard)}actor-{actor:05}.row-{first_row:012}.ticks-{ticks}"
        return cls(f"{BLOCK_PREFIX}{place}.{entry['sha256'][:_DIGITS]}.zst", entry, actor, first_row, ticks)


@dataclass(frozen=True)
class SavedRows:
    """The rows of shard `index` in a checkpoint."""

    checkpoint: Checkpoint
    index: int
    format: list[str]  # `RowFormat.description`
    ticks: tuple[int, ...]  # by actor: rows written to each of its lanes so far

    @classmethod
    def of(cls, checkpoint: Checkpoint, index: int, description: Any) -> SavedRows:
        """description: from `ReplayLog.description`. Raises ValueError if it is not."""
        try:
            return cls(checkpoint, index, list(description["format"]), tuple(map(int, description["ticks"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {checkpoint.directory}: no rows of shard {index}: {error!r}") from error

    def blocks(self, shape: ShardShape) -> list[list[Block]]:
        """By actor, the blocks from which a shard of this shape can be restored, oldest first.

        Raises ValueError, in one line, if such a shard has other fields, lanes or rows.
        """
        log, description = f"the replay log of shard {self.index}", RowFormat.of(shape).description()
        pairs = zip_longest(self.format, description, fillvalue="no more fields")
        if difference := next((f"{here}, not {there}" for here, there in pairs if here != there), ""):
            raise ValueError(f"{log} has {difference} as the shard")
        found = _blocks_in(self.checkpoint.files, index=self.index, actors=shape.actors)
        for actor, (blocks, ticks) in enumerate(zip(found, self.ticks, strict=True)):
            row = oldest = max(0, ticks - shape.rows)
            for block in blocks:
                row = max(row, block.end) if block.first_row <= row else row
            if row != ticks:
                raise ValueError(f"{log} lacks row {row} of actor {actor}; it needs {oldest} to {ticks}")
        return found

    def restore(self, shard: Shard) -> dict[str, Entry]:
        """Fill an empty shard's rows and heads; the entries of the blocks that hold them.

        Priorities and stamps are as after an append; a checkpoint has their values. Raises ValueError as `blocks`, and
        if a block is damaged.
        """
        if shard.ticks.any():
            raise ValueError(f"a shard that holds {shard.ticks.tolist()} ticks already cannot be restored into")
        blocks, row_format = self.blocks(shard.shape), RowFormat.of(shard.shape)
        for actor, ticks in enumerate(self.ticks):
            oldest = max(0, ticks - shard.rows)
            for block in blocks[actor]:
                payload = self.checkpoint.take(block.name)
                try:
                    columns = row_format.decompress(payload, ticks=block.ticks)
                except ValueError as error:
                    raise ValueError(f"checkpoint {self.checkpoint.directory}: {block.name}: {error}") from error
                put_rows(shard, columns, actor=actor, first_row=block.first_row, keep_from=oldest)
            filled = shard.lanes_of(actor)[:, None], np.arange(oldest, ticks) % shard.rows
            shard.priority[filled], shard.stamp[filled] = 0, -1
            shard.head[shard.lanes_of(actor)] = ticks
        shard.ticks[:] = self.ticks
        return {block.name: block.entry for of_actor in blocks for block in of_actor}


class ReplayLog:
    """The writer of one shard's log, a context manager. Raises ValueError while another process is the writer.

    `append` does not raise disk errors: the first is logged, the rows stay in the shard, and the next `sync` retries
    and raises if it fails.
    """

    def __init__(self, run_dir: str | Path, shard: Shard, *, index: int, written: Mapping[str, Entry] | None = None):
        """written: entries of blocks that hold the shard's rows as they are."""
        self._run_dir, self._shard, self._index = Path(run_dir), shard, index
        self._folder = self._run_dir / REPLAY_FOLDER
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            sync_directory(self._run_dir)
        self._format = RowFormat.of(shard.shape)
        self._blocks = _blocks_in(written or {}, index=index, actors=shard.shape.actors)  # by actor, oldest first
        self._lock = WriterLock(self._folder / f"{_prefix(index)}lock", cargo=f"the replay log of shard {index}")
        most = max(4, BLOCK_BYTES // self._format.tick_bytes)
        self._block_ticks = max(1, min(BLOCK_TICKS, most, shard.rows // 2))
        self._is_failing = False

    @classmethod
    def open(cls, run_dir: str | Path, shard: Shard, *, index: int) -> ReplayLog:
        """The log of a new shard, or of one that a predecessor in the same run, which died, has filled.

        Raises ValueError if the shard lacks rows that the newest checkpoint has, as a new shard in an earlier run's
        directory does.
        """
        newest = resumable(run_dir)[:1]
        log = cls(run_dir, shard, index=index, written=read_manifest(newest[0]).files if newest else None)
        for actor, blocks in enumerate(log._blocks):
            saved = blocks[-1].end if blocks else 0
            if saved > shard.ticks[actor]:
                log.close()
                raise ValueError(
                    f"checkpoint {newest[0]} has {saved} ticks of actor {actor}, shard {index} has "
                    f"{shard.ticks[actor]}: resume the run from a checkpoint"
                )
            log._forget_from(saved - _REWRITTEN_ROWS, actor)  # the predecessor may have cut the actor off since
        return log

    def append(self, *, actor: int) -> None:
        """After `Shard.append`: write a block of the actor's rows once they fill one."""
        if self._is_failing or self._shard.ticks[actor] - self._next_row(actor) < self._block_ticks:
            return
        try:
            self._write(actor, self._block_ticks)
        except OSError as error:
            self._is_failing = True
            _log.warning("replay log %s: %s; rows wait in memory for the next checkpoint", self._folder, error)

    def cut_off(self, *, actor: int) -> None:
        """After `Shard.cut_off`: have the rows that it changed written again, with their blocks."""
        self._forget_from(int(self._shard.ticks[actor]) - _REWRITTEN_ROWS, actor)

    def sync(self) -> dict[str, Entry]:
        """Write all rows of the shard; the entries of their blocks, for a checkpoint's manifest.

        Raises OSError if that fails. Nothing is lost then: the next call retries.
        """
        for actor in range(len(self._blocks)):
            while pending := int(self._shard.ticks[actor]) - self._next_row(actor):
                self._write(actor, min(pending, self._block_ticks))
            oldest = self._oldest_row(actor)
            self._blocks[actor] = [block for block in self._blocks[actor] if block.end > oldest]
        self._is_failing = False
        return self._entries()

    def description(self) -> dict[str, Any]:
        """JSON of what is written after `sync`, for a checkpoint."""
        return {"format": self._format.description(), "ticks": self._shard.ticks.tolist()}

    def sweep(self) -> None:
        """Delete the shard's blocks that neither a checkpoint nor this log lists, and files of writers that died.

        Raises OSError, possibly without deleting, if a manifest cannot be read or a block not be deleted.
        """
        lock = f"{_prefix(self._index)}lock"
        own = (path for path in self._folder.iterdir() if path.name.lstrip(".").startswith(_prefix(self._index)))
        sweep(own, kept={lock, *(Path(name).name for name in (*all_listed(self._run_dir), *self._entries()))})

    def close(self) -> None:
        """Release the lock. Rows since the last block are not written."""
        self._lock.release()

    def __enter__(self) -> ReplayLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entries(self) -> dict[str, Entry]:
        return {block.name: block.entry for blocks in self._blocks for block in blocks}

    def _oldest_row(self, actor: int) -> int:
        """The oldest row of the actor's lanes in the shard."""
        return max(0, int(self._shard.ticks[actor]) - self._shard.rows)

    def _next_row(self, actor: int) -> int:
        """The row of the actor's lanes to write next."""
        blocks = self._blocks[actor]
        return max(self._oldest_row(actor), blocks[-1].end if blocks else 0)

    def _forget_from(self, row: int, actor: int) -> None:
        """Have rows from this one on written again."""
        self._blocks[actor] = [block for block in self._blocks[actor] if block.end <= row]

    def _write(self, actor: int, ticks: int) -> None:
        first_row = self._next_row(actor)
        content = self._format.compress(self._shard, actor=actor, first_row=first_row, ticks=ticks)
        block = Block.of(content, shard=self._index, actor=actor, first_row=first_row, ticks=ticks)
        write_atomically(self._folder / Path(block.name).name, content)
        self._blocks[actor].append(block)


def _prefix(shard: int) -> str:
    """What the names of a shard's files begin with."""
    return f"shard-{shard:05}."


def _blocks_in(files: Mapping[str, Entry], *, index: int, actors: int) -> list[list[Block]]:
    """A shard's blocks among a checkpoint's files, by actor, oldest first. Raises ValueError for further actors."""
    found: list[list[Block]] = [[] for _ in range(actors)]
    for name, entry in files.items():
        if match := _NAME.fullmatch(name):
            shard, actor, first_row, ticks = map(int, match.groups())
            if shard == index and actor >= actors:
                raise ValueError(f"{name} is of actor {actor}; shard {index} has {actors} actors")
            if shard == index:
                found[actor].append(Block(name, entry, actor, first_row, ticks))
    return [sorted(blocks, key=lambda block: block.first_row) for blocks in found]
