"""Counters, gauges and heartbeats: one row per process, written by it alone, read by all.

    row:  heartbeat, pid, start time, state, stop level | counters (uint64) | gauges (float64)

A row is whole cache lines and every entry an aligned 8-byte word, so reading one entry is atomic; reading several is
not. The successor of a dead process takes over its row and continues its counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from speedyzero.shm.layout import digest, round_up
from speedyzero.shm.liveness import ProcessId, claim
from speedyzero.shm.run import Run
from speedyzero.shm.segment import HEADER_BYTES, Segment, SegmentKind

HEARTBEAT_NS, CLAIM, STATE, STOP_LEVEL = 0, 1, 3, 4
_FIXED_WORDS = 8


@dataclass(frozen=True)
class BoardSpec:
    """rows: one name per process, the first for the run's owner. counters never decrease; gauges may take any value."""

    name: str
    rows: tuple[str, ...]
    counters: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.rows:
            raise ValueError(f"board {self.name} has no rows")
        for names in (self.rows, self.counters + self.gauges):
            if len(set(names)) != len(names):
                raise ValueError(f"board {self.name}: a name stands twice in {names}")

    @property
    def row_words(self) -> int:
        return round_up(8 * (_FIXED_WORDS + len(self.counters) + len(self.gauges))) // 8

    @property
    def kind(self) -> SegmentKind:
        schema = digest(self.rows, self.counters, self.gauges)
        return SegmentKind("board", schema, 8 * self.row_words * len(self.rows))

    @property
    def total_bytes(self) -> int:
        """Shared memory used by the board."""
        return HEADER_BYTES + self.kind.payload_bytes

    def word_of(self, row: str, entry: str) -> int:
        """
        Raises:
            ValueError: no such row or entry.
        """
        entries = self.counters + self.gauges
        if entry not in entries:
            raise ValueError(f"board {self.name} has no entry {entry!r}, only {entries}")
        return self.start_of(row) + _FIXED_WORDS + entries.index(entry)

    def start_of(self, row: str) -> int:
        if row not in self.rows:
            raise ValueError(f"board {self.name} has no row {row!r}, only {self.rows}")
        return self.rows.index(row) * self.row_words


class Board:
    """The whole board, for reading. `row()` takes a row for writing."""

    def __init__(self, spec: BoardSpec, segment: Segment):
        self.spec, self._segment = spec, segment
        self.words = segment.words()
        self.floats = self.words.cast("B").cast("d")

    @classmethod
    def create(cls, run: Run, spec: BoardSpec) -> Board:
        """
        Raises:
            SegmentError: the name exists, or there is too little space.
        """
        return cls(spec, Segment.create(run, spec.name, spec.kind))

    @classmethod
    def attach(cls, run: Run, spec: BoardSpec) -> Board:
        """
        Raises:
            SegmentError: there is no such board, or it has other rows or entries.
        """
        return cls(spec, Segment.attach(run, spec.name, spec.kind))

    def row(self, name: str) -> BoardRow:
        """
        Raises:
            ValueError: no such row, or another living process writes it.
        """
        return BoardRow(self, name)

    def begin_with(self, row: str, counter: str, value: int) -> None:
        """Initialise a counter of a resumed run. Called by the run's owner, before the row has a writer."""
        assert self.process(row) is None, f"row {row} has a writer"
        self.words[self.spec.word_of(row, counter)] = value

    def counter(self, row: str, entry: str) -> int:
        assert entry in self.spec.counters, f"{entry} is no counter"
        return self.words[self.spec.word_of(row, entry)]

    def total(self, entry: str) -> int:
        """A counter summed over all rows."""
        return sum(self.counter(row, entry) for row in self.spec.rows)

    def gauge(self, row: str, entry: str) -> float:
        assert entry in self.spec.gauges, f"{entry} is no gauge"
        return self.floats[self.spec.word_of(row, entry)]

    def heartbeat_age_s(self, row: str) -> float | None:
        """Seconds since the row's last heartbeat; None: no heartbeat yet."""
        beat_ns = self.heartbeat_ns(row)
        return (time.monotonic_ns() - beat_ns) / 1e9 if beat_ns else None

    def heartbeat_ns(self, row: str) -> int:
        """Time of the row's last heartbeat, on the monotonic clock; 0: no heartbeat yet."""
        return self.words[self.spec.start_of(row) + HEARTBEAT_NS]

    def state(self, row: str) -> int:
        """The value of the writer's last `set_state`; 0 before."""
        return self.words[self.spec.start_of(row) + STATE]

    def process(self, row: str) -> ProcessId | None:
        """The process that took the row last; None: none yet."""
        start = self.spec.start_of(row) + CLAIM
        return ProcessId(self.words[start], self.words[start + 1]) if self.words[start] else None

    @property
    def stop_level(self) -> int:
        """How urgently the owner of the run (the first row) requests a stop; 0: no request."""
        return self.words[STOP_LEVEL]

    def stop_requested(self) -> bool:
        """The `stop` callback of every wait."""
        return self.words[STOP_LEVEL] > 0

    def snapshot(self) -> dict[str, dict[str, int | float]]:
        """Every counter and gauge, by row and entry."""
        spec = self.spec
        return {
            row: {entry: self.counter(row, entry) for entry in spec.counters}
            | {entry: self.gauge(row, entry) for entry in spec.gauges}
            for row in spec.rows
        }

    def close(self) -> None:
        self.words, self.floats = memoryview(b""), memoryview(b"").cast("d")
        self._segment.close()

    def unlink(self) -> None:
        self._segment.unlink()


class BoardRow:
    """One process's row, for writing by one thread at a time; `beat` may be called by another."""

    def __init__(self, board: Board, name: str):
        self.name, spec = name, board.spec
        self._words, self._floats, self._start = board.words, board.floats, spec.start_of(name)
        self._counters = {entry: spec.word_of(name, entry) for entry in spec.counters}
        self._gauges = {entry: spec.word_of(name, entry) for entry in spec.gauges}
        claim(self._words, self._start + CLAIM, what=f"row {name} of board {spec.name}")

    def add(self, counter: str, amount: int = 1) -> None:
        self._words[self._counters[counter]] += amount

    def set_counter(self, counter: str, value: int) -> None:
        """For values counted elsewhere, such as a version, or restored by a resume."""
        self._words[self._counters[counter]] = value

    def set_gauge(self, gauge: str, value: float) -> None:
        self._floats[self._gauges[gauge]] = value

    def beat(self) -> None:
        """Publish a heartbeat. The monotonic clock is the same for every process of a machine."""
        self._words[self._start + HEARTBEAT_NS] = time.monotonic_ns()

    def set_state(self, state: int) -> None:
        self._words[self._start + STATE] = state

    def request_stop(self, level: int = 1) -> None:
        """Request that all processes stop. Only for the first row."""
        assert self._start == 0, "only the first row, the owner's, can stop the run"
        self._words[STOP_LEVEL] = level
