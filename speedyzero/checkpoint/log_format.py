"""The byte format of the replay log: segments of records with a running digest over everything before.

    RUN_DIR/replay/shard-N/segment-000000000.log ...   files of bounded size, read in numerical order

    segment   magic | format version | description bytes | number | records before it | digest so far
              description: JSON of the row format and of each actor's next row
    record    kind | format version | actor | ticks | payload bytes | number | first row | digest | payload

All numbers are little-endian. A record's digest is the sha256 of the previous digest, its header and its payload, so a
flipped bit, a missing record and a record of another log are detected at the first record they affect.

`replay_log.py` writes, `log_reader.py` reads.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from speedyzero.checkpoint.row_format import RowFormat

FORMAT_VERSION = 1
SEGMENT_MAGIC = b"SPZROWS\n"
ROWS, AMENDMENT = b"ROWS", b"AMND"  # new rows; changed values of rows already written
NOTHING_BEFORE = bytes(32).hex()

_SEGMENT = struct.Struct("<8sIIQQ32s")
_RECORD = struct.Struct("<4sHHIIQq")
_DIGEST_BYTES = 32
RECORD_BYTES = _RECORD.size + _DIGEST_BYTES


@dataclass(frozen=True)
class LogPosition:
    """A position in the log, as a checkpoint stores it."""

    segment: int
    length_bytes: int  # of that segment's file
    records: int  # in all segments so far
    ticks: tuple[int, ...]  # by actor: rows written to each of its lanes so far
    digest: str  # of everything up to here

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ticks": list(self.ticks)}

    @classmethod
    def from_json(cls, content: Any) -> LogPosition:
        """Raises ValueError unless `to_json` produced it."""
        try:
            position = cls(**{**content, "ticks": tuple(content["ticks"])})
            numbers = (position.segment, position.length_bytes, position.records, *position.ticks)
            if not all(type(number) is int and number >= 0 for number in numbers):
                raise ValueError("a number is missing")
            if not re.fullmatch("[0-9a-f]{64}", position.digest):
                raise ValueError(f"digest {position.digest!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"no position in a replay log: {error!r}") from error
        return position


@dataclass(frozen=True)
class SegmentStart:
    """A segment's header."""

    rows: RowFormat
    position: LogPosition  # after the segment's header
    before: str  # digest of what precedes the segment
    path: Path


@dataclass(frozen=True)
class Record:
    kind: bytes
    actor: int
    first_row: int
    ticks: int
    payload: bytes
    place: str  # file and byte, for error messages
    end: LogPosition


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"segment-{number:09}.log"


def segment_numbers(directory: Path) -> list[int]:
    """The existing segments, in order."""
    names = (re.fullmatch(r"segment-(\d{9,})\.log", path.name) for path in directory.glob("segment-*.log"))
    return sorted(int(match[1]) for match in names if match)


def encode_segment(
    rows: RowFormat, *, number: int, records: int, ticks: tuple[int, ...], before: str
) -> tuple[bytes, LogPosition]:
    """A segment's header and its end. records, before: the number and digest of the records before it."""
    description = json.dumps({"rows": rows.to_json(), "next_rows": list(ticks)}).encode()
    fixed = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT_VERSION, len(description), number, records, bytes.fromhex(before))
    digest = hashlib.sha256(fixed + description)
    header = fixed + description + digest.digest()
    return header, LogPosition(number, len(header), records, ticks, digest.hexdigest())


def encode_record(
    kind: bytes, payload: bytes, *, actor: int, first_row: int, ticks: int, after: LogPosition
) -> tuple[bytes, LogPosition]:
    """A record and its end. after: its beginning."""
    header = _RECORD.pack(kind, FORMAT_VERSION, actor, ticks, len(payload), after.records, first_row)
    digest = _chain(after.digest, header, payload)
    record = header + digest + payload
    return record, _behind(after, kind, actor=actor, ticks=ticks, record_bytes=len(record), digest=digest)


def read_start(directory: Path, number: int) -> SegmentStart:
    """A segment's header, verified. Raises ValueError, in one line."""
    path = segment_path(directory, number)
    try:
        with open(path, "rb") as file:
            content = file.read(_SEGMENT.size)
            if len(content) == _SEGMENT.size:
                content += file.read(_SEGMENT.unpack(content)[2] + _DIGEST_BYTES)
    except OSError as error:
        raise ValueError(f"replay log: {path}: {error.strerror}") from error
    return _decode_start(path, number, content)


def read_segment(directory: Path, number: int) -> tuple[SegmentStart, bytes]:
    """A segment's verified header and its whole file, the header included. Raises ValueError as `read_start`."""
    path = segment_path(directory, number)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"replay log: {path}: {error.strerror}") from error
    return _decode_start(path, number, content), content


def decode_records(start: SegmentStart, content: bytes, *, after: LogPosition) -> Iterator[Record]:
    """The records of a segment's file `content` after a position, each verified against all before it.

    Raises ValueError, with file, byte and expected value, at the first damaged record.
    """
    while after.length_bytes < len(content):
        record = _decode_record(start, content, after)
        yield record
        after = record.end


def _decode_start(path: Path, number: int, content: bytes) -> SegmentStart:
    place = f"replay log {path} is damaged at byte 0"
    if len(content) < _SEGMENT.size:
        raise ValueError(f"{place}: {len(content)} bytes, a segment's header takes more than {_SEGMENT.size}")
    magic, version, description_bytes, found_number, records, before = _SEGMENT.unpack_from(content)
    if magic != SEGMENT_MAGIC:
        raise ValueError(f"{place}: {magic!r} where {SEGMENT_MAGIC!r} should be")
    if version != FORMAT_VERSION:
        raise ValueError(f"replay log {path} has format version {version}; this program reads {FORMAT_VERSION}")
    end = _SEGMENT.size + description_bytes
    digest = hashlib.sha256(content[:end]).digest()
    if content[end : end + _DIGEST_BYTES] != digest:
        raise ValueError(f"{place}: the digest of the segment's header is not the one of its {end} bytes")
    if found_number != number:
        raise ValueError(f"{place}: it says segment {found_number}, its name {number}")
    try:
        description = json.loads(content[_SEGMENT.size : end])
        rows = RowFormat.from_json(description["rows"])
        position = LogPosition.from_json(
            {
                "segment": number,
                "length_bytes": end + _DIGEST_BYTES,
                "records": records,
                "ticks": description["next_rows"],
                "digest": digest.hex(),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"replay log {path} is damaged at byte {_SEGMENT.size}: {error}") from error
    return SegmentStart(rows, position, before.hex(), path)


def _decode_record(start: SegmentStart, content: bytes, position: LogPosition) -> Record:
    begin = position.length_bytes
    place = f"replay log {start.path} is damaged at byte {begin}"
    left = len(content) - begin
    if left < RECORD_BYTES:
        raise ValueError(f"{place}: {left} bytes are left, a record's header takes {RECORD_BYTES}")
    header = content[begin : begin + _RECORD.size]
    kind, version, actor, ticks, payload_bytes, number, first_row = _RECORD.unpack(header)
    if left < RECORD_BYTES + payload_bytes:
        raise ValueError(f"{place}: {left} bytes are left, record {number} says {RECORD_BYTES + payload_bytes}")
    payload_begin = begin + RECORD_BYTES
    end = payload_begin + payload_bytes
    payload = content[payload_begin:end]
    digest = content[begin + _RECORD.size : payload_begin]
    if digest != _chain(position.digest, header, payload):
        raise ValueError(f"{place}: record {position.records}'s digest is not the one of its content and what precedes")
    if kind not in (ROWS, AMENDMENT) or version != FORMAT_VERSION or number != position.records:
        expected = f"{ROWS!r} or {AMENDMENT!r}, format version {FORMAT_VERSION}, record {position.records}"
        raise ValueError(f"{place}: {kind!r}, format version {version}, record {number} where {expected} should be")
    if actor >= start.rows.actors or ticks == 0:
        raise ValueError(f"{place}: {ticks} ticks of actor {actor}; the log has {start.rows.actors} actors")
    next_row = position.ticks[actor]
    if first_row != next_row if kind == ROWS else not 0 <= first_row <= first_row + ticks <= next_row:
        raise ValueError(f"{place}: {kind!r} of {ticks} rows from row {first_row}; row {next_row} is the next")
    after = _behind(position, kind, actor=actor, ticks=ticks, record_bytes=end - begin, digest=digest)
    return Record(kind, actor, first_row, ticks, payload, f"replay log {start.path}, byte {begin}", after)


def _behind(
    position: LogPosition, kind: bytes, *, actor: int, ticks: int, record_bytes: int, digest: bytes
) -> LogPosition:
    """The position after a record that begins at `position`."""
    next_rows = list(position.ticks)
    if kind == ROWS:
        next_rows[actor] += ticks
    return LogPosition(
        segment=position.segment,
        length_bytes=position.length_bytes + record_bytes,
        records=position.records + 1,
        ticks=tuple(next_rows),
        digest=digest.hex(),
    )


def _chain(digest: str, header: bytes, payload: bytes) -> bytes:
    chained = hashlib.sha256(bytes.fromhex(digest))
    chained.update(header)
    chained.update(payload)
    return chained.digest()
