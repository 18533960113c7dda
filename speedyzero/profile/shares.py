"""A track's time as a sequence of working and waiting intervals, and their sums.

Based on the track's top-level spans: a step is work, except for waits for its group within it. Time between two spans
is unaccounted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speedyzero.topology.edges import WAIT_GROUP
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import Trace, Track

BUSY = "busy"
SLEEP = "sleep"  # of the supervisor between two polls
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
    """The analysed part of a profile, in ns since its begin."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / 1e9

    def cut(self, start_ns: int, end_ns: int) -> int:
        """The overlap of an interval with the window, in ns."""
        return max(0, min(end_ns, self.end_ns) - max(start_ns, self.begin_ns))


@dataclass(frozen=True)
class Shares:
    """Seconds of one track."""

    wall_s: float  # in which its spans are complete
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
    """From the start of learning, as the head start behaves differently; the whole profile if learning never began."""
    began = trace.learning_ns < trace.end_ns
    return Window(trace.learning_ns if began else 0, trace.end_ns)


def intervals(track: Track, window: Window) -> list[Interval]:
    """The track's intervals within a window, in order; adjacent ones of the same kind are merged."""
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
    """Shares of a process in which the tracks take turns: the sum over them."""
    each = [shares_of(track, window) for track in tracks]
    return Shares(max((one.wall_s for one in each), default=0.0), sum(one.busy_s for one in each), {})


def _lowest(spans: np.ndarray) -> list[tuple[int, int, str]]:
    """Start, end and kind of top-level spans, with waits for the group cut out of them."""
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
