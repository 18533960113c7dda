"""The writer of a shard's replay log. Every row is written once, so a checkpoint costs only the new rows.

Called by the process that writes the shard, after the shard:

    shard.append(record, actor=a)      log.append(actor=a)      writes the actor's rows once they fill a block
    shard.cut_off(actor=a)             log.cut_off(actor=a)     schedules the changed rows to be written again
    a checkpoint                       log.sync()               returns the position that the checkpoint refers to
    an old checkpoint is deleted       log.discard(kept)        deletes unreferenced segments

Pending rows stay in the shard, uncopied, and are written as they are at that time. `log_reader.py` restores a shard
from the log; `log_format.py` defines the bytes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from speedyzero.checkpoint.log_format import (
    AMENDMENT,
    NOTHING_BEFORE,
    ROWS,
    LogPosition,
    encode_record,
    encode_segment,
    read_start,
    segment_numbers,
    segment_path,
)
from speedyzero.checkpoint.log_reader import count_beyond, find_end, needed_segments
from speedyzero.checkpoint.row_format import RowFormat
from speedyzero.system.atomic_file import sync_directory, write_atomically
from speedyzero.system.writer_lock import WriterLock

if TYPE_CHECKING:
    from speedyzero.replay.shard import Shard

SEGMENT_BYTES = 64 << 20
BLOCK_TICKS, BLOCK_BYTES = 64, 32 << 20  # the limits of a block, before compression
_REWRITTEN_ROWS = 2  # rows of each lane that Shard.cut_off changes

_log = logging.getLogger("speedyzero.checkpoint")


def replay_log_dir(run_dir: str | Path, shard: int) -> Path:
    """The directory of a shard's log."""
    return Path(run_dir) / "replay" / f"shard-{shard}"


class ReplayLog:
    """Created by `open` or `resume`. A context manager that closes the log, without a sync.

    `append` does not raise disk errors: the first is logged, the rows stay in the shard, and the next `sync` retries
    and raises if it fails.
    """

    def __init__(self, directory: Path, shard: Shard, lock: WriterLock, *, segment_bytes: int):
        self.directory = directory
        self.position: LogPosition  # the end of what is written; only `sync` makes it durable
        self._shard, self._lock, self._segment_bytes = shard, lock, segment_bytes
        self._rows = RowFormat.of(shard.shape)
        most = max(4, BLOCK_BYTES // self._rows.tick_bytes(self._rows.names))
        self._block_ticks = max(1, min(BLOCK_TICKS, most, shard.rows // 2))  # a row is written before it is overwritten
        self._amend_from: dict[int, int] = {}  # by actor: the first row to write again, if it was logged
        self._descriptor = -1
        self._is_torn = False  # the file may extend beyond the position
        self._is_doubtful = False  # an fsync failed: the last records may not be on disk
        self._is_failing = False

    @classmethod
    def open(cls, directory: str | Path, shard: Shard, *, segment_bytes: int = SEGMENT_BYTES) -> ReplayLog:
        """Begin a log or, if a predecessor in the same run died, continue its log.

        Raises ValueError if the shard does not hold the rows that the predecessor logged (a new shard with the log of
        an earlier run), or if another process writes the log.
        """
        log = cls._locked(directory, shard, segment_bytes)
        try:
            log._begin_or_go_on()
        except BaseException:
            log.close()
            raise
        return log

    @classmethod
    def resume(
        cls, directory: str | Path, shard: Shard, position: LogPosition, *, segment_bytes: int = SEGMENT_BYTES
    ) -> ReplayLog:
        """Continue from the position that the shard was restored to; later records are deleted with a warning.

        Raises ValueError if the shard is not at that position, or if another process writes the log.
        """
        if tuple(shard.ticks.tolist()) != position.ticks:
            raise ValueError(f"the shard holds {shard.ticks.tolist()} ticks, the position {list(position.ticks)}")
        log = cls._locked(directory, shard, segment_bytes)
        try:
            log._take_up(position)
            log._cut_beyond(position)
        except BaseException:
            log.close()
            raise
        return log

    def append(self, *, actor: int) -> None:
        """After `Shard.append`: write the actor's rows once they fill a block."""
        pending = int(self._shard.ticks[actor]) - self.position.ticks[actor]
        if pending < self._block_ticks or self._is_failing:
            return
        try:
            self._write_pending([actor], at_least=self._block_ticks)
        except OSError as error:
            self._is_failing = True
            _log.warning("replay log %s: %s; rows wait in memory for the next checkpoint", self.directory, error)

    def cut_off(self, *, actor: int) -> None:
        """After `Shard.cut_off`: schedule the rows that it changed to be written again."""
        first = max(0, int(self._shard.ticks[actor]) - _REWRITTEN_ROWS)
        self._amend_from[actor] = min(first, self._amend_from.get(actor, first))

    def sync(self) -> LogPosition:
        """Write and fsync all rows of the shard; the position after them.

        Raises OSError if that fails. Nothing is lost then: the next call retries.
        """
        self._write_pending(range(self._rows.actors), at_least=1)
        self._force()
        self._is_failing = False
        return self.position

    def discard(self, *, kept: Iterable[LogPosition]) -> int:
        """Delete the segments needed neither by a kept checkpoint nor by the current shard; their number.

        Raises ValueError, without deleting, if a segment needed by a kept checkpoint is missing or damaged.
        """
        needed = needed_segments(self.directory, self.position, rows=self._shard.rows)
        for position in kept:
            needed |= needed_segments(self.directory, position, rows=self._shard.rows)
        unneeded = [number for number in segment_numbers(self.directory) if number not in needed]
        for number in unneeded:
            segment_path(self.directory, number).unlink()
        return len(unneeded)

    def close(self) -> None:
        """Release the file and the lock. Rows since the last block are not written."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._lock.release()

    def __enter__(self) -> ReplayLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def _locked(cls, directory: str | Path, shard: Shard, segment_bytes: int) -> ReplayLog:
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(directory / "lock", cargo=f"the replay log {directory}")
        for aside in directory.glob(".segment-*.part"):  # of a writer that was killed
            aside.unlink()
        return cls(directory, shard, lock, segment_bytes=segment_bytes)

    def _begin_or_go_on(self) -> None:
        numbers = segment_numbers(self.directory)
        if not numbers:
            self._begin_segment(0, records=0, before=NOTHING_BEFORE, ticks=self._oldest_rows())
            sync_directory(self.directory.parent)
            return
        end = find_end(self.directory, numbers[-1])
        if len(end.position.ticks) != self._rows.actors or any(
            logged > held for logged, held in zip(end.position.ticks, self._shard.ticks.tolist(), strict=True)
        ):
            raise ValueError(
                f"replay log {self.directory} holds {list(end.position.ticks)} ticks, the shard "
                f"{self._shard.ticks.tolist()}: resume it from a checkpoint"
            )
        self._take_up(end.position)
        self._cut_beyond(end.position)
        # The predecessor may have died during a cut-off or before logging it. No block was written since, so the
        # affected rows are the last logged ones.
        for actor, logged in enumerate(end.position.ticks):
            self._amend_from[actor] = max(0, logged - _REWRITTEN_ROWS)

    def _cut_beyond(self, position: LogPosition) -> None:
        """Delete what follows a position, last segment first, so that the rest is valid at any moment."""
        path = segment_path(self.directory, position.segment)
        later = [number for number in segment_numbers(self.directory) if number > position.segment]
        extra_bytes = path.stat().st_size - position.length_bytes
        extra_bytes += sum(segment_path(self.directory, number).stat().st_size for number in later)
        if extra_bytes == 0:
            return
        if extra_bytes < 0:
            raise ValueError(f"replay log {path} is {-extra_bytes} bytes shorter than its position")
        beyond = count_beyond(self.directory, position)
        _log.warning(
            "replay log %s: %d bytes after %s ticks are given up: %d records of %d rows%s",
            *(self.directory, extra_bytes, list(position.ticks), beyond.records, beyond.rows),
            f", then {beyond.problem}" if beyond.problem else "",
        )
        for number in reversed(later):
            segment_path(self.directory, number).unlink()
        os.truncate(path, position.length_bytes)
        sync_directory(self.directory)

    def _take_up(self, position: LogPosition) -> None:
        start = read_start(self.directory, position.segment)
        if difference := start.rows.difference(self._rows):
            raise ValueError(f"replay log {start.path} has {difference} as the shard")
        self.position = position
        self._descriptor = os.open(segment_path(self.directory, position.segment), os.O_RDWR)

    def _oldest_rows(self) -> tuple[int, ...]:
        """The oldest row in the shard, by actor."""
        return tuple(max(0, ticks - self._shard.rows) for ticks in self._shard.ticks.tolist())

    def _write_pending(self, actors: Iterable[int], *, at_least: int) -> None:
        """Write these actors' amendments and rows until fewer than `at_least` rows are pending."""
        oldest = self._oldest_rows()
        if self._is_doubtful or any(logged < row for logged, row in zip(self.position.ticks, oldest, strict=True)):
            self._begin_anew(oldest)
        for actor in actors:
            self._write_amendment(actor, oldest[actor])
            ticks = int(self._shard.ticks[actor])
            while (pending := ticks - self.position.ticks[actor]) >= at_least:
                self._write(ROWS, actor, self.position.ticks[actor], min(pending, self._block_ticks), self._rows.names)

    def _write_amendment(self, actor: int, oldest: int) -> None:
        if actor in self._amend_from:
            first = max(self._amend_from[actor], oldest)  # older rows are not needed
            if (ticks := self.position.ticks[actor] - first) > 0:  # otherwise none of them was logged
                self._write(AMENDMENT, actor, first, ticks, self._rows.amended)
            del self._amend_from[actor]

    def _write(self, kind: bytes, actor: int, first_row: int, ticks: int, names: tuple[str, ...]) -> None:
        """Write one record. A failed write leaves the position unchanged."""
        if self.position.length_bytes >= self._segment_bytes:
            self._force()
            position = self.position
            self._begin_segment(
                position.segment + 1, records=position.records, before=position.digest, ticks=position.ticks
            )
        payload = self._rows.compress(self._shard, actor=actor, first_row=first_row, ticks=ticks, names=names)
        record, behind = encode_record(
            kind, payload, actor=actor, first_row=first_row, ticks=ticks, after=self.position
        )
        self._cut_torn()
        self._is_torn = True
        written = 0
        while written < len(record):
            written += os.pwrite(self._descriptor, record[written:], self.position.length_bytes + written)
        self._is_torn = False
        self.position = behind

    def _force(self) -> None:
        self._cut_torn()
        try:
            os.fsync(self._descriptor)
        except OSError:
            # Linux reports a lost write once; later calls succeed.
            self._is_doubtful = True
            raise

    def _cut_torn(self) -> None:
        if self._is_torn:
            os.ftruncate(self._descriptor, self.position.length_bytes)
            self._is_torn = False

    def _begin_anew(self, oldest: tuple[int, ...]) -> None:
        """Write all rows of the shard again, to new segments, because the log lacks some of them."""
        position = self.position
        _log.warning(
            "replay log %s: %s; the shard is written anew",
            self.directory,
            "the disk failed" if self._is_doubtful else f"rows {list(position.ticks)} to {list(oldest)} are lost",
        )
        self._begin_segment(position.segment + 1, records=position.records, before=position.digest, ticks=oldest)
        self._is_doubtful = False

    def _begin_segment(self, number: int, *, records: int, before: str, ticks: tuple[int, ...]) -> None:
        header, position = encode_segment(self._rows, number=number, records=records, ticks=ticks, before=before)
        write_atomically(segment_path(self.directory, number), header)
        descriptor = os.open(segment_path(self.directory, number), os.O_RDWR)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self.position, self._is_torn = descriptor, position, False
