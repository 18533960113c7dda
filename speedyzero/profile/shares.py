"""Where a track's time went: intervals of work and of waiting, one after the other, and their sums.

The lowest level of a track's spans: a step is work, but for what its group waited inside it; a wait is a wait. What
lies between two spans was done and not named: unaccounted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speedyzero.topology.edges import WAIT_GROUP
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import Trace, Track

BUSY = "busy"
SLEEP = "sleep"  # the supervisor's between two looks
_GROUP = SPAN_NAMES.index(WAIT_GROUP.removesuffix("_ns"))
_KINDS = tuple(name if name.startswith("wait_") or name == SLEEP else BUSY for name in SPAN_NAMES)


@dataclass(frozen=True)
class Interval:
    """kind: BUSY, or what was waited for."""

    start_ns: int
    end_ns: int
    kind: str


@dataclass(frozen=True)
class Window:
    """The part of a profile that is looked at, in ns from its begin."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9

    def cut(self, start_ns: int, end_ns: int) -> int:
        """How much of a stretch lies in the window, in ns."""
        return max(0, min(end_ns, self.end_ns) - max(start_ns, self.begin_ns))


@dataclass(frozen=True)
class Shares:
    """Seconds of one track."""

    wall_s: float  # in which it was there, and what it did was told
    busy_s: float
    waits_s: Mapping[str, float]  # by wait

    @property
    def unaccounted_s(self) -> float:
        return self.wall_s - self.busy_s - sum(self.waits_s.values())

    def share(self, seconds: float) -> float:
        return seconds / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def busy(self) -> float:
        return self.share(self.busy_s)


def window_of(trace: Trace) -> Window:
    """From when learning had begun, for what came before is another machine; all, where it never did."""
    began = trace.learning_ns < trace.end_ns
    return Window(trace.learning_ns if began else 0, trace.end_ns)


def intervals(track: Track, window: Window) -> list[Interval]:
    """What the track did within a window, in order; neighbours of a kind are one where nothing lies between."""
    found: list[Interval] = []
    for start_ns, end_ns, kind in _lowest(track.spans):
        start_ns, end_ns = max(start_ns, window.begin_ns), min(end_ns, window.end_ns)
        if start_ns >= end_ns:
            continue
        if found and found[-1].kind == kind and found[-1].end_ns == start_ns:
            found[-1] = Interval(found[-1].start_ns, end_ns, kind)
        else:
            found.append(Interval(start_ns, end_ns, kind))
    return found


def shares_of(track: Track, window: Window) -> Shares:
    sums = dict.fromkeys({interval.kind for interval in intervals(track, window)}, 0)
    for interval in intervals(track, window):
        sums[interval.kind] += interval.end_ns - interval.start_ns
    busy_ns = sums.pop(BUSY, 0)
    wall_ns = sum(window.cut(since_ns, until_ns) for since_ns, until_ns in track.covered)
    return Shares(wall_ns / 1e9, busy_ns / 1e9, {wait: waited_ns / 1e9 for wait, waited_ns in sorted(sums.items())})


def shares_in_turns(tracks: Sequence[Track], window: Window) -> Shares:
    """Of a process in which the tracks take turns: what all of them did, and what nobody says to have done."""
    each = [shares_of(track, window) for track in tracks]
    return Shares(max((one.wall_s for one in each), default=0.0), sum(one.busy_s for one in each), {})


def _lowest(spans: np.ndarray) -> list[tuple[int, int, str]]:
    """Start, end and kind of spans that lie within no other, waits for the group cut out of them."""
    if not len(spans):
        return []
    start_ns, end_ns = spans[:, 1], spans[:, 1] + spans[:, 2]
    latest_end_ns = np.maximum.accumulate(end_ns)
    is_lowest = np.concatenate([[True], start_ns[1:] >= latest_end_ns[:-1]])
    found: list[tuple[int, int, str]] = []
    for (number, start, duration, _), lowest in zip(spans.tolist(), is_lowest.tolist(), strict=True):
        if lowest:
            found.append((start, start + duration, _KINDS[number]))
        elif number == _GROUP:
            around_start, around_end, kind = found.pop()
            pieces = ((around_start, start, kind), (start, start + duration, _KINDS[number]))
            found += [*pieces, (start + duration, around_end, kind)]
    return found
