"""Counters and heartbeats: one row per process, written by it alone, read by all.

    row:  heartbeat, pid, start time, state, stop request | counters (uint64)

A row is whole cache lines and every entry an aligned 8-byte word, so reading one entry is atomic; reading several is
not. The successor of a dead process takes over its row and continues its counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from speedyzero.shm.layout import digest, round_up
from speedyzero.shm.liveness import ProcessId, claim
from speedyzero.shm.segment import Segment, SegmentKind, SegmentSpec

HEARTBEAT_NS, CLAIM, STATE, STOP = 0, 1, 3, 4
_FIXED_WORDS = 8


@dataclass(frozen=True)
class BoardSpec(SegmentSpec):
    """rows: one name per process, the first for the run's owner. counters: of every row; they never decrease."""

    name: str
    rows: tuple[str, ...]
    counters: tuple[str, ...] = ()

    @property
    def row_words(self) -> int:
        return round_up(8 * (_FIXED_WORDS + len(self.counters))) // 8

    @property
    def kind(self) -> SegmentKind:
        return SegmentKind("board", digest(self.rows, self.counters), 8 * self.row_words * len(self.rows))

    def word_of(self, row: str, counter: str) -> int:
        return self.start_of(row) + _FIXED_WORDS + self.counters.index(counter)

    def start_of(self, row: str) -> int:
        return self.rows.index(row) * self.row_words


class Board(Segment[BoardSpec]):
    """The whole board, for reading. `row()` takes a row for writing."""

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

    def counter(self, row: str, counter: str) -> int:
        return self.words[self.spec.word_of(row, counter)]

    def total(self, counter: str) -> int:
        """A counter summed over all rows."""
        return sum(self.counter(row, counter) for row in self.spec.rows)

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

    def stop_requested(self) -> bool:
        """Whether the owner of the run (the first row) has requested a stop."""
        return self.words[STOP] != 0


class BoardRow:
    """One process's row, for writing by one thread at a time; `beat` may be called by another."""

    def __init__(self, board: Board, name: str):
        self.name, spec = name, board.spec
        self._words, self._start = board.words, spec.start_of(name)
        self._counters = {counter: spec.word_of(name, counter) for counter in spec.counters}
        claim(self._words, self._start + CLAIM, what=f"row {name} of board {spec.name}")

    def add(self, counter: str, amount: int = 1) -> None:
        self._words[self._counters[counter]] += amount

    def set_counter(self, counter: str, value: int) -> None:
        """For values counted elsewhere, such as a version, or restored by a resume."""
        self._words[self._counters[counter]] = value

    def beat(self) -> None:
        """Publish a heartbeat. The monotonic clock is the same for every process of a machine."""
        self._words[self._start + HEARTBEAT_NS] = time.monotonic_ns()

    def set_state(self, state: int) -> None:
        self._words[self._start + STATE] = state

    def request_stop(self) -> None:
        """Request that all processes stop. Only for the first row."""
        assert self._start == 0, "only the first row, the owner's, can stop the run"
        self._words[STOP] = 1
