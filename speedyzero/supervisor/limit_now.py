"""The bottleneck of the last seconds, for the progress display, from counters that exist anyway: the busiest process.

Of several nodes, that of the node which the others wait for. A profile follows waits and is exact. In 59 of 60
simulated runs (`tests/profile/simulated_run.py`) both named the same process.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping

from speedyzero.nodes.watch import Watch
from speedyzero.runtime.wiring import LEARNER, Wiring
from speedyzero.shm import Board
from speedyzero.topology.edges import WAIT_GROUP, WAITS

SAMPLE_EVERY_S, WINDOW_S, LEAST_S = 1.0, 10.0, 3.0
_CLEAR = 0.1  # share of the time by which one node's wait for the others must exceed another's
_IDLE = 0.2  # busy share below which no process is the bottleneck: all wait for one another


class Recent:
    """How much figures have risen in the last seconds."""

    def __init__(self, read: Callable[[], Mapping[str, int]], clock: Callable[[], float]):
        self._read, self._clock = read, clock
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque()

    def rise(self) -> tuple[float, dict[str, int]] | None:
        """Seconds, and the rise of every figure in them; None until the next sample is due."""
        now_s, samples = self._clock(), self._samples
        if samples and now_s - samples[-1][0] < SAMPLE_EVERY_S:
            return None
        samples.append((now_s, dict(self._read())))
        while len(samples) > 2 and now_s - samples[1][0] >= WINDOW_S:
            samples.popleft()
        (since_s, before), (_, now) = samples[0], samples[-1]
        if now_s - since_s < LEAST_S:
            return None
        return now_s - since_s, {name: now[name] - before[name] for name in now}


class Limit:
    """The busiest process of a run, or the role with the longest turns."""

    def __init__(self, busy_ns: Callable[[], Mapping[str, int]], *, clock: Callable[[], float] = time.monotonic):
        """busy_ns: so far, by process."""
        self._recent, self._name = Recent(busy_ns, clock), ""

    def name(self) -> str:
        """A process, or `pacing` if none is busy; empty before enough time has passed."""
        if (found := self._recent.rise()) is not None:
            seconds, rise_ns = found
            longest = max(rise_ns, key=lambda name: rise_ns[name])
            self._name = longest if rise_ns[longest] >= _IDLE * 1e9 * seconds else "pacing"
        return self._name


def limit_of_processes(wiring: Wiring, board: Board, *, clock: Callable[[], float] = time.monotonic) -> Limit:
    """Time not booked as a wait counts as work, as a step is booked only when it ends."""

    def busy_ns() -> dict[str, int]:
        now_ns = int(clock() * 1e9)
        return {name: now_ns - sum(board.counter(name, wait) for wait in WAITS) for name in wiring.processes}

    return Limit(busy_ns, clock=clock)


class NodesLimit:
    """The bottleneck of a run on several nodes: that of the node whose learner waits least for the others."""

    def __init__(self, own: Limit, board: Board, nodes: Watch, *, clock: Callable[[], float] = time.monotonic):
        """own: among the processes of this node."""
        self._own, self._board, self._nodes = own, board, nodes
        self._recent = Recent(lambda: {str(node): ns for node, ns in enumerate(nodes.limits()[1])}, clock)
        self._slowest: int | None = None

    def name(self) -> str:
        """`node 1 (hostB): actor-0`; empty while no node is clearly waited for."""
        self._nodes.publish_limit(self._own.name(), self._board.counter(LEARNER, WAIT_GROUP))
        if (found := self._recent.rise()) is not None:
            seconds, waited_ns = found
            slowest = min(waited_ns, key=lambda node: waited_ns[node])
            is_clear = (max(waited_ns.values()) - waited_ns[slowest]) / 1e9 >= _CLEAR * seconds
            self._slowest = int(slowest) if is_clear else None
        if self._slowest is None:
            return ""
        return f"{self._nodes.name(self._slowest)}: {self._nodes.limits()[0][self._slowest]}"
