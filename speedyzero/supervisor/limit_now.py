"""The bottleneck of the last seconds, for the progress display, from counters that exist anyway: the busiest process.

A profile follows waits and is exact. In 59 of 60 simulated runs (`tests/profile/simulated_run.py`) both named the same
process.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping

from speedyzero.runtime.wiring import Wiring
from speedyzero.shm import Board
from speedyzero.topology.edges import WAITS

SAMPLE_EVERY_S, WINDOW_S, LEAST_S = 1.0, 10.0, 3.0
_IDLE = 0.2  # busy share below which no process is the bottleneck: all wait for one another


class Limit:
    """The busiest process of a run, or the role with the longest turns."""

    def __init__(self, busy_ns: Callable[[], Mapping[str, int]], *, clock: Callable[[], float] = time.monotonic):
        """busy_ns: so far, by process."""
        self._busy_ns, self._clock, self._name = busy_ns, clock, ""
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque()

    def name(self) -> str:
        """A process, or `pacing` if none is busy; empty before enough time has passed."""
        now_s, samples = self._clock(), self._samples
        if samples and now_s - samples[-1][0] < SAMPLE_EVERY_S:
            return self._name
        now = dict(self._busy_ns())
        samples.append((now_s, now))
        while len(samples) > 2 and now_s - samples[1][0] >= WINDOW_S:
            samples.popleft()
        since_s, before = samples[0]
        if now_s - since_s >= LEAST_S:
            rise_ns = {name: now[name] - before[name] for name in now}
            longest = max(rise_ns, key=lambda name: rise_ns[name])
            self._name = longest if rise_ns[longest] >= _IDLE * 1e9 * (now_s - since_s) else "pacing"
        return self._name


def limit_of_processes(wiring: Wiring, board: Board, *, clock: Callable[[], float] = time.monotonic) -> Limit:
    """Time not booked as a wait counts as work, as a step is booked only when it ends."""

    def busy_ns() -> dict[str, int]:
        now_ns = int(clock() * 1e9)
        return {name: now_ns - sum(board.counter(name, wait) for wait in WAITS) for name in wiring.processes}

    return Limit(busy_ns, clock=clock)
