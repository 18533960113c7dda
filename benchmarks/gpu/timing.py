"""Times of work on the device: warmed up, by device events, in turns, with median and spread.

A subject takes the number of its call, by which it picks its inputs among several sets larger than the cache. Short
subjects are called several times within one pair of events. On the CPU (a rehearsal) the clock of the host serves.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Subject = Callable[[int], object]
SHORTEST_MS = 1.0  # between two events: their own resolution and cost are some microseconds
MOST_CALLS = 200


@dataclass(frozen=True)
class Times:
    """Of one call, in milliseconds."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    halves_differ: float  # of the medians of the first and second half of the measurements: noise, as a share
    count: int
    calls_each: int

    def per_s(self, items: float) -> float:
        """Items a second, with so many in each call."""
        return 1e3 * items / self.median_ms


def time_turns(
    subjects: dict[str, Subject], device: torch.device, *, seconds: float, most_rounds: int = 50
) -> dict[str, Times]:
    """Time the subjects in turns for about `seconds` in all; two rounds at least, after the warm-up."""
    calls = {name: _warm_up(subject, device) for name, subject in subjects.items()}
    found: dict[str, list[float]] = {name: [] for name in subjects}
    numbers = dict.fromkeys(subjects, 0)
    end_s = time.monotonic() + seconds
    rounds = 0
    while rounds < 2 or (rounds < most_rounds and time.monotonic() < end_s):
        for name, subject in subjects.items():
            found[name].append(_measure(subject, device, first=numbers[name], calls=calls[name]))
            numbers[name] += calls[name]
        rounds += 1
    return {name: _times(measured, calls[name]) for name, measured in found.items()}


def time_one(subject: Subject, device: torch.device, *, seconds: float, most_rounds: int = 50) -> Times:
    """One subject alone."""
    return time_turns({"": subject}, device, seconds=seconds, most_rounds=most_rounds)[""]


def time_chain(parts: dict[str, Subject], device: torch.device, *, rounds: int) -> dict[str, Times]:
    """Time parts of work that are queued one behind the other, all rounds without a wait in between.

    A part's time is from the end of what came before it on the device to its own end: where the host is late, the
    device's idling counts. The caller warms up.
    """
    marks: list[tuple[str, object]] = [("", _mark(device))]
    for number in range(rounds):
        for name, part in parts.items():
            part(number)
            marks.append((name, _mark(device)))
    _synchronise(device)
    found: dict[str, list[float]] = {name: [] for name in parts}
    for (_, before), (name, after) in itertools.pairwise(marks):
        found[name].append(_between_ms(before, after))
    return {name: _times(measured, 1) for name, measured in found.items()}


def _mark(device: torch.device) -> object:
    """A place in what is queued on the device; on the CPU a time."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between_ms(before: object, after: object) -> float:
    if isinstance(before, float) and isinstance(after, float):
        return 1e3 * (after - before)
    assert isinstance(before, torch.cuda.Event) and isinstance(after, torch.cuda.Event)
    return before.elapsed_time(after)


def _warm_up(subject: Subject, device: torch.device) -> int:
    """Calls of one measurement. The first call compiles, the next ones settle clocks and allocators."""
    for number in range(2):
        subject(number)
    _synchronise(device)
    once_ms = _measure(subject, device, first=0, calls=1)
    return max(1, min(MOST_CALLS, round(SHORTEST_MS / max(once_ms, 1e-3))))


def _measure(subject: Subject, device: torch.device, *, first: int, calls: int) -> float:
    """Milliseconds of one call, the mean of `calls`."""
    before = _mark(device)
    for number in range(first, first + calls):
        subject(number)
    after = _mark(device)
    _synchronise(device)
    return _between_ms(before, after) / calls


def _times(measured: list[float], calls: int) -> Times:
    ordered = sorted(measured)
    median = statistics.median(ordered)
    middle = len(measured) // 2
    first, second = statistics.median(measured[:middle]), statistics.median(measured[middle:])
    last = len(ordered) - 1
    return Times(
        median_ms=median,
        p10_ms=ordered[round(0.1 * last)],
        p90_ms=ordered[round(0.9 * last)],
        halves_differ=abs(first - second) / median,
        count=len(measured),
        calls_each=calls,
    )


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
