"""The critical path: the process whose work the run waited for at each moment, traced backwards from the run's end.

    at time t in process P:   P works            -> that work is on the path; continue at its start
                              P waits for Q      -> continue in Q at time t
                              all of them wait   -> no process worked: hand-over (polling, pacing); continue at the
                                                    end of the last work

Each moment of the path is one process's work, so shares sum to 1: a process that is never waited for has 0, one that
the others always wait for has 1. Shortening a process's part of the path shortens the run by as much, until another
path is longer. As for message-passing programs (Yang and Miller 1988; wait-for graphs: Zhou et al., wPerf, OSDI 2018).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from speedyzero.profile.shares import BUSY, Interval, Window

HAND_OVER = "hand-over"


@dataclass(frozen=True)
class CriticalPath:
    """Seconds on the path, by track and HAND_OVER."""

    seconds: Mapping[str, float]

    def share(self, name: str) -> float:
        return self.seconds.get(name, 0.0) / (sum(self.seconds.values()) or 1.0)


class _Timeline:
    """One track's activity over time. Gaps between its intervals count as work."""

    def __init__(self, intervals: Sequence[Interval], begin_ns: int):
        self._intervals, self._begin_ns = intervals, begin_ns
        self._starts = [interval.start_ns for interval in intervals]

    def before(self, time_ns: int) -> Interval:
        """The activity just before `time_ns`, cut off there."""
        index = bisect_left(self._starts, time_ns) - 1
        if index < 0:
            return Interval(self._begin_ns, time_ns, BUSY)
        interval = self._intervals[index]
        if interval.end_ns < time_ns:
            return Interval(interval.end_ns, time_ns, BUSY)
        return Interval(interval.start_ns, time_ns, interval.kind)

    def last_work(self, time_ns: int) -> int:
        """When the last work before `time_ns` ended."""
        while time_ns > self._begin_ns:
            under_way = self.before(time_ns)
            if under_way.kind == BUSY:
                return time_ns
            time_ns = under_way.start_ns
        return self._begin_ns


def critical_path(
    intervals: Mapping[str, Sequence[Interval]],
    waits_on: Mapping[str, Mapping[str, Sequence[str]]],
    window: Window,
    *,
    last: str,
) -> CriticalPath:
    """last: the track that ends the run."""
    lines = {name: _Timeline(found, window.begin_ns) for name, found in intervals.items()}
    seconds: Counter[str] = Counter()
    name, time_ns = last, window.end_ns
    while time_ns > window.begin_ns:
        under_way = lines[name].before(time_ns)
        if under_way.kind == BUSY:
            seconds[name] += under_way.end_ns - under_way.start_ns
            time_ns = under_way.start_ns
            continue
        seen, at = [name], name
        while under_way.kind != BUSY:
            others = [other for other in waits_on.get(at, {}).get(under_way.kind, ()) if other in lines]
            other = _working(others, lines, time_ns)
            if other is None or other in seen:
                break
            seen.append(other)
            at, under_way = other, lines[other].before(time_ns)
        if under_way.kind == BUSY:
            name = at
            continue
        ended_ns, name = max((lines[one].last_work(time_ns), one) for one in seen)
        seconds[HAND_OVER] += time_ns - ended_ns
        time_ns = ended_ns
    return CriticalPath({key: spent_ns / 1e9 for key, spent_ns in seconds.items()})


def _working(others: Sequence[str], lines: Mapping[str, _Timeline], time_ns: int) -> str | None:
    """Of the tracks that may end a wait, the one working for the longest; if none works, the one waiting longest."""
    if not others:
        return None
    at_work = [other for other in others if lines[other].before(time_ns).kind == BUSY]
    return min(at_work or others, key=lambda other: lines[other].before(time_ns).start_ns)
