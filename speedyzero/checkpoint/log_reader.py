"""Read a shard's replay log up to a position: verify it, restore a shard from it, find its end.

A resume calls `verify` while it chooses a checkpoint and then `restore`. Reading begins with the newest segment from
which every row of the shard can be read; earlier segments may have been deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speedyzero.checkpoint.log_format import (
    AMENDMENT,
    LogPosition,
    Record,
    SegmentStart,
    decode_records,
    read_segment,
    read_start,
    segment_numbers,
    segment_path,
)
from speedyzero.checkpoint.row_format import RowFormat, put_rows

if TYPE_CHECKING:
    from speedyzero.replay.shard import Shard


@dataclass(frozen=True)
class LoggedRows:
    """A block of an actor's rows or, if `is_amendment`, changed values for some fields of earlier rows."""

    actor: int
    first_row: int
    columns: dict[str, np.ndarray]  # [E, n, ...] by field
    is_amendment: bool


@dataclass(frozen=True)
class LogEnd:
    """The end of a segment's valid records and the problem there; None: valid to its end."""

    position: LogPosition
    records: int
    rows: int  # over all lanes
    problem: str | None


def verify(directory: str | Path, position: LogPosition, *, rows: int) -> None:
    """Verify every byte from which a shard of `rows` rows per lane would be restored.

    Raises ValueError, with file, byte and expected value, for damaged or missing data.
    """
    directory = Path(directory)
    for _ in _records(directory, position, first_needed_segment(directory, position, rows=rows)):
        pass


def read_rows(directory: str | Path, position: LogPosition, *, rows: int) -> Iterator[LoggedRows]:
    """The log up to a position, in order, for at least the last `rows` rows of each lane.

    Raises ValueError as `verify` does, but only when it reaches the damage: verify first.
    """
    directory = Path(directory)
    segment = first_needed_segment(directory, position, rows=rows)
    row_format = read_start(directory, segment).rows
    for record in _records(directory, position, segment):
        is_amendment = record.kind == AMENDMENT
        names = row_format.amended if is_amendment else row_format.names
        try:
            columns = row_format.decompress(record.payload, ticks=record.ticks, names=names)
        except ValueError as error:
            raise ValueError(f"{record.place}: {error}") from error
        yield LoggedRows(record.actor, record.first_row, columns, is_amendment)


def restore(directory: str | Path, position: LogPosition, shard: Shard) -> None:
    """Restore a new shard's rows and heads at a position, after everything was verified.

    Priorities and stamps are as after an append; a checkpoint has their values. Raises ValueError as `verify` does,
    and if the log's row format differs from the shard's or the shard is not empty.
    """
    directory, rows = Path(directory), shard.rows
    if shard.ticks.any():
        raise ValueError(f"a shard that holds {shard.ticks.tolist()} ticks already cannot be restored into")
    if len(position.ticks) != shard.shape.actors:
        raise ValueError(f"the position is of {len(position.ticks)} actors, the shard of {shard.shape.actors}")
    verify(directory, position, rows=rows)
    start = read_start(directory, first_needed_segment(directory, position, rows=rows))
    if difference := start.rows.difference(RowFormat.of(shard.shape)):
        raise ValueError(f"replay log {start.path} has {difference} as the shard")
    needed_from = _needed_from(position, rows)
    for block in read_rows(directory, position, rows=rows):
        put_rows(shard, block.columns, actor=block.actor, first_row=block.first_row, keep_from=needed_from[block.actor])
    for actor, ticks in enumerate(position.ticks):
        filled = shard.lanes_of(actor)[:, None], np.arange(needed_from[actor], ticks) % rows
        shard.priority[filled], shard.stamp[filled] = 0, -1
        shard.head[shard.lanes_of(actor)] = ticks
    shard.ticks[:] = position.ticks


def first_needed_segment(directory: Path, position: LogPosition, *, rows: int) -> int:
    """The newest segment, up to a position, that begins before every needed row. Raises ValueError if there is none."""
    needed_from = _needed_from(position, rows)
    numbers = [number for number in segment_numbers(directory) if number <= position.segment]
    if position.segment not in numbers:
        raise ValueError(f"replay log: {segment_path(directory, position.segment)} is missing")
    for number in reversed(numbers):
        start = read_start(directory, number)
        if len(start.position.ticks) != len(needed_from):
            raise ValueError(
                f"replay log {start.path} is of {len(start.position.ticks)} actors, not {len(needed_from)}"
            )
        if all(begin <= first for begin, first in zip(start.position.ticks, needed_from, strict=True)):
            return number
    raise ValueError(
        f"replay log {directory}: rows {needed_from} of the actors' lanes are needed; the oldest segment there is, "
        f"{start.path.name}, begins with rows {list(start.position.ticks)}"
    )


def needed_segments(directory: Path, position: LogPosition, *, rows: int) -> set[int]:
    """Every segment needed to restore a shard of `rows` rows per lane at a position."""
    return set(range(first_needed_segment(directory, position, rows=rows), position.segment + 1))


def find_end(directory: Path, number: int) -> LogEnd:
    """The end of a segment's complete records; the writer may have died within one."""
    start, content = read_segment(directory, number)
    return _count(start, content, start.position)


def count_beyond(directory: Path, position: LogPosition) -> LogEnd:
    """The records after a verified position, which a resumed run discards."""
    start, content = read_segment(directory, position.segment)
    end = _count(start, content, position)
    records, rows, problem = end.records, end.rows, end.problem
    for number in segment_numbers(directory):
        if number > position.segment:
            try:
                later = find_end(directory, number)
            except ValueError as error:
                problem = problem or str(error)
            else:
                records, rows, problem = records + later.records, rows + later.rows, problem or later.problem
    return LogEnd(end.position, records, rows, problem)


def _count(start: SegmentStart, content: bytes, position: LogPosition) -> LogEnd:
    records = rows = 0
    try:
        for record in decode_records(start, content, after=position):
            records += 1
            rows += 0 if record.kind == AMENDMENT else record.ticks * start.rows.lanes_per_actor
            position = record.end
    except ValueError as error:
        return LogEnd(position, records, rows, str(error))
    return LogEnd(position, records, rows, None)


def _records(directory: Path, position: LogPosition, first_segment: int) -> Iterator[Record]:
    """The verified records from a segment's beginning up to a position, which must lie between two records."""
    end: LogPosition | None = None
    for number in range(first_segment, position.segment + 1):
        start, content = read_segment(directory, number)
        found = start.position
        if end is not None and (start.before, found.records, found.ticks) != (end.digest, end.records, end.ticks):
            raise ValueError(
                f"replay log {start.path} is damaged at byte 0: it follows record {found.records}, rows "
                f"{list(found.ticks)}, digest {start.before[:12]}; segment {number - 1} ends with record "
                f"{end.records}, rows {list(end.ticks)}, digest {end.digest[:12]}"
            )
        end = found
        if number == position.segment:
            if len(content) < position.length_bytes:
                raise ValueError(
                    f"replay log {start.path} is damaged at byte {len(content)}: it ends there instead of at byte "
                    f"{position.length_bytes}"
                )
            content = content[: position.length_bytes]
        for record in decode_records(start, content, after=end):
            end = record.end
            yield record
    if end != position:
        raise ValueError(
            f"replay log {segment_path(directory, position.segment)} is not the one of this checkpoint: at byte "
            f"{position.length_bytes} it has {end}, expected {position}"
        )


def _needed_from(position: LogPosition, rows: int) -> list[int]:
    """The oldest row that a shard keeps, by actor."""
    return [max(0, ticks - rows) for ticks in position.ticks]
