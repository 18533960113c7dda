"""Redistribution of rows from one set of shards to another with other lanes, when a resumed run is resharded.

A lane is one uninterrupted stream, so whole games are moved where possible, oldest first, each to the lane with the
fewest rows. Lanes end up equally long, so some games are cut. A cut is a truncation, as where an actor died, and the
rest of the game begins with a stack of its own first frame.

Axes: E lanes, T rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from speedyzero.checkpoint.row_format import runs_of
from speedyzero.replay.shard import Shard

_NOT_OF_ROWS = ("ticks", "env_steps", "largest_priority")


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of an old lane: a game or a part of one."""

    shard: int
    lane: int
    first: int  # step of the first row
    rows: int
    age: int  # newer rows in its lane

    def tail(self, rows: int) -> Piece:
        """Its newest rows."""
        return replace(self, first=self.first + self.rows - rows, rows=rows)

    def without_tail(self, rows: int) -> Piece:
        return replace(self, rows=self.rows - rows, age=self.age + rows)


@dataclass(frozen=True)
class Dealt:
    """The result of a redistribution."""

    rows_per_lane: int
    kept: int
    given_up: int  # oldest rows dropped for lack of room, and the remainder of the division
    cuts: int  # games cut in two or without their beginning


def redistribute(old: Sequence[Shard], new: Sequence[Shard]) -> Dealt:
    """Fill new shards with the rows of old ones, priorities included. The caller restores the env-step counters.

    old: not being written; unfinished games are cut off in them. new: empty. Raises ValueError if a field's rows
    differ in shape or type, or there is less than one row per lane.
    """
    _check_alike(old[0], new[0])
    for shard in old:
        for actor in range(shard.shape.actors):
            shard.cut_off(actor=actor)
    pieces = sorted(
        (piece for index, shard in enumerate(old) for piece in _pieces(index, shard)),
        key=lambda piece: (-piece.age, piece.shard, piece.lane),
    )
    lanes, stored = sum(shard.lanes for shard in new), sum(piece.rows for piece in pieces)
    rows_per_lane = min(new[0].rows, stored // lanes)
    if rows_per_lane == 0:
        raise ValueError(f"{stored} rows are too few for {lanes} lanes")
    given_up = stored - rows_per_lane * lanes
    dealt = deal(_without_oldest(pieces, given_up), lanes=lanes, rows_per_lane=rows_per_lane)
    lane_of = [(shard, lane) for shard in new for lane in range(shard.lanes)]
    cuts = 0
    for (shard, lane), of_lane in zip(lane_of, dealt, strict=True):
        at = 0
        for piece in of_lane:
            cuts += _copy(old[piece.shard], piece, shard, lane, at)
            at += piece.rows
    for shard in new:
        shard.head[:], shard.ticks[:] = rows_per_lane, rows_per_lane
        shard.largest_priority[:] = max(one.largest_priority[0] for one in old)
    return Dealt(rows_per_lane, kept=rows_per_lane * lanes, given_up=given_up, cuts=cuts)


def deal(pieces: Sequence[Piece], *, lanes: int, rows_per_lane: int) -> list[list[Piece]]:
    """The pieces of each lane, `rows_per_lane` rows in each. pieces: oldest first, of exactly that many rows."""
    dealt: list[list[Piece]] = [[] for _ in range(lanes)]
    filled = [0] * lanes
    for piece in pieces:
        lane = min(range(lanes), key=filled.__getitem__)
        dealt[lane].append(piece)
        filled[lane] += piece.rows
    for lane in range(lanes):
        while filled[lane] > rows_per_lane:
            taker = min(range(lanes), key=filled.__getitem__)
            newest = dealt[lane].pop()
            moved = min(filled[lane] - rows_per_lane, rows_per_lane - filled[taker], newest.rows)
            if moved < newest.rows:
                dealt[lane].append(newest.without_tail(moved))
            dealt[taker].append(newest.tail(moved))
            filled[lane] -= moved
            filled[taker] += moved
    assert filled == [rows_per_lane] * lanes, f"{filled} rows dealt, not {rows_per_lane} each"
    return dealt


def _pieces(index: int, shard: Shard) -> list[Piece]:
    """The games in a shard's lanes; the oldest of each lane may lack its beginning."""
    pieces = []
    for lane in range(shard.lanes):
        head = int(shard.head[lane])
        begin = max(0, head - shard.rows)
        steps = np.arange(begin, head)
        ends = steps[shard.last[lane, steps % shard.rows]] + 1
        for end in ends.tolist():
            pieces.append(Piece(index, lane, begin, end - begin, age=head - end))
            begin = end
        assert begin == head, f"lane {lane} was not cut off: its last game ends at row {begin} of {head}"
    return pieces


def _without_oldest(pieces: Sequence[Piece], rows: int) -> list[Piece]:
    """Pieces, oldest first, without the given number of oldest rows."""
    kept = []
    for piece in pieces:
        gone = min(rows, piece.rows)
        rows -= gone
        if gone < piece.rows:
            kept.append(piece.tail(piece.rows - gone))
    return kept


def _copy(old: Shard, piece: Piece, new: Shard, lane: int, at: int) -> int:
    """Copy a piece to the rows of a new lane from `at`; the number of its ends that are cuts."""
    slots = np.arange(at, at + piece.rows)
    for name in _row_fields(old):
        source, target = getattr(old, name), getattr(new, name)
        for part, of_old in runs_of(piece.first, piece.rows, old.rows):
            target[lane, at + part.start : at + part.stop] = source[piece.lane, of_old]
    begins_anew, is_cut = not new.first[lane, at], not new.last[lane, slots[-1]]
    if begins_anew:
        new.first[lane, at] = True
    if is_cut:
        new.end_game(np.array([lane]), slots[-1:])
    return int(begins_anew) + int(is_cut)


def _row_fields(shard: Shard) -> list[str]:
    return [name for name in shard.shape.fields() if name not in _NOT_OF_ROWS]


def _check_alike(old: Shard, new: Shard) -> None:
    for name in _row_fields(old):
        there, here = getattr(old, name), getattr(new, name)
        if (there.dtype, there.shape[2:]) != (here.dtype, here.shape[2:]):
            raise ValueError(
                f"replay holds {name} of {there.dtype} {list(there.shape[2:])} a row, this run "
                f"{here.dtype} {list(here.shape[2:])}"
            )
