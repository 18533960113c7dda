"""Whose work a run waited for, at every moment of it: waits followed to their end, backwards from the last moment.

    at time t in process P:   P works            -> that work is on the path; go on at its beginning
                              P waits for Q      -> go on in Q at time t
                              all of them wait   -> nobody worked: hand-over (polling, pacing); go on at the last work

Each moment of the path is one process's work, so the shares sum to the whole: a process that is never waited for has
none, one that others always wait for has all of it, whatever the others do meanwhile. If a process's part of the path
takes half the time, that much sooner the run ends, until another path is longer. The method is that of critical paths
in message-passing programs (Yang and Miller 1988; wait-for graphs: Zhou et al., wPerf, OSDI 2018).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from speedyzero.profile.shares import BUSY, Interval, Window

HAND_OVER = "hand-over"


@dataclass(frozen=True)
class CriticalPath:
    """seconds: on the path, by track and HAND_OVER. jumps: how often it went from a waiter, by its wait, to another."""

    seconds: Mapping[str, float]
    jumps: Mapping[tuple[str, str, str], int]

    def share(self, name: str) -> float:
        return self.seconds.get(name, 0.0) / (sum(self.seconds.values()) or 1.0)


class _Timeline:
    """One track, to be asked what it did just before a moment. What it did between two intervals is work unnamed."""

    def __init__(self, intervals: Sequence[Interval], begin_ns: int):
        self._intervals, self._begin_ns = intervals, begin_ns
        self._starts = [interval.start_ns for interval in intervals]

    def before(self, time_ns: int) -> Interval:
        """What was under way just before a moment, cut off there."""
        index = bisect_left(self._starts, time_ns) - 1
        if index < 0:
            return Interval(self._begin_ns, time_ns, BUSY)
        interval = self._intervals[index]
        if interval.end_ns < time_ns:
            return Interval(interval.end_ns, time_ns, BUSY)
        return Interval(interval.start_ns, time_ns, interval.kind)

    def last_work(self, time_ns: int) -> int:
        """When the last work before a moment ended."""
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
    """last: the track at whose end the run ends."""
    lines = {name: _Timeline(found, window.begin_ns) for name, found in intervals.items()}
    seconds: Counter[str] = Counter()
    jumps: Counter[tuple[str, str, str]] = Counter()
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
            jumps[at, under_way.kind, other] += 1
            seen.append(other)
            at, under_way = other, lines[other].before(time_ns)
        if under_way.kind == BUSY:
            name = at
            continue
        ended_ns, name = max((lines[one].last_work(time_ns), one) for one in seen)
        seconds[HAND_OVER] += time_ns - ended_ns
        time_ns = ended_ns
    return CriticalPath({key: spent_ns / 1e9 for key, spent_ns in seconds.items()}, jumps)


def _working(others: Sequence[str], lines: Mapping[str, _Timeline], time_ns: int) -> str | None:
    """Of those who may end a wait the one that has been at work for longest; one that waits itself if all do."""
    if not others:
        return None
    at_work = [other for other in others if lines[other].before(time_ns).kind == BUSY]
    return min(at_work or others, key=lambda other: lines[other].before(time_ns).start_ns)
