"""The bottleneck of the last seconds, for the progress display, from counters that exist anyway.

In a process run: the end of the wait chain (`profile/wait_chain.py`), on several nodes that of the slowest. Inline: the
role with the longest turns. Time not booked as a wait counts as work, as a step is booked only when it ends.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from speedyzero.nodes.watch import Watch
from speedyzero.profile.shares import Shares
from speedyzero.profile.wait_chain import chain_shares
from speedyzero.runtime.waits import waits_on
from speedyzero.runtime.wiring import LEARNER, Wiring
from speedyzero.shm import Board
from speedyzero.topology.edges import WAIT_GROUP, WAITS

SAMPLE_EVERY_S, WINDOW_S, LEAST_S = 1.0, 10.0, 3.0
_CLEAR = 0.1  # share of the time by which one node's wait for the others must exceed another's
_IDLE = 0.3  # busy share below which no process is the bottleneck: all wait for one another


class Recent:
    """How much counters have risen in the last seconds."""

    def __init__(self, read: Callable[[], Mapping[str, int]], *, clock: Callable[[], float] = time.monotonic):
        self._read, self._clock = read, clock
        self._samples: deque[tuple[float, Mapping[str, int]]] = deque()

    def look(self) -> tuple[float, dict[str, int]] | None:
        """Seconds, and the rise of every counter in them; None if too little time has passed."""
        now_s = self._clock()
        if self._samples and now_s - self._samples[-1][0] < SAMPLE_EVERY_S:
            return None
        self._samples.append((now_s, dict(self._read())))
        while len(self._samples) > 2 and now_s - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()
        since_s, before = self._samples[0]
        if now_s - since_s < LEAST_S:
            return None
        return now_s - since_s, {name: value - before[name] for name, value in self._samples[-1][1].items()}


class ProcessLimit:
    """The bottleneck of a process run."""

    def __init__(self, wiring: Wiring, board: Board, *, clock: Callable[[], float] = time.monotonic):
        self._board, self._waits_on = board, waits_on(wiring)
        self._recent = Recent(self._waited, clock=clock)
        self._name = ""

    def name(self) -> str:
        """A process, or `pacing` if no process is busy; empty before training has begun."""
        if not self._board.total("train_steps"):
            return ""
        rise = self._recent.look()
        if rise is not None:
            self._name = self._judge(*rise)
        return self._name

    def _judge(self, seconds: float, waited_ns: Mapping[str, int]) -> str:
        shares = {}
        for process in self._waits_on:
            waits = {wait.removesuffix("_ns"): waited_ns[f"{process} {wait}"] / 1e9 for wait in WAITS}
            shares[process] = Shares(seconds, max(0.0, seconds - sum(waits.values())), waits)
        path = chain_shares(shares, self._waits_on)
        longest = max(path, key=lambda process: path[process])
        return longest if shares[longest].busy >= _IDLE else "pacing"

    def _waited(self) -> dict[str, int]:
        return {f"{process} {wait}": self._board.counter(process, wait) for process in self._waits_on for wait in WAITS}


class NodesLimit:
    """The bottleneck of a run on several nodes: that of the node whose learner waits least for the others."""

    def __init__(
        self, own: Callable[[], str], board: Board, nodes: Watch, *, clock: Callable[[], float] = time.monotonic
    ):
        """own: among the processes of this node."""
        self._own, self._board, self._nodes = own, board, nodes
        self._recent = Recent(self._waited, clock=clock)
        self._slowest: int | None = None

    def name(self) -> str:
        """`node 1 (hostB): actor-0`; empty while no node is clearly waited for."""
        self._nodes.publish_limit(self._own(), self._board.counter(LEARNER, WAIT_GROUP))
        rise = self._recent.look()
        if rise is not None:
            seconds, waited_ns = rise
            slowest = min(waited_ns, key=lambda node: waited_ns[node])
            is_clear = (max(waited_ns.values()) - waited_ns[slowest]) / 1e9 >= _CLEAR * seconds
            self._slowest = int(slowest) if is_clear else None
        if self._slowest is None:
            return ""
        return f"{self._nodes.name(self._slowest)}: {self._nodes.limits()[0][self._slowest]}"

    def _waited(self) -> dict[str, int]:
        return {str(node): waited_ns for node, waited_ns in enumerate(self._nodes.limits()[1])}


class TurnLimit:
    """The bottleneck of an inline run."""

    def __init__(self, busy_ns: Mapping[str, int], *, clock: Callable[[], float] = time.monotonic):
        self._recent, self._name = Recent(lambda: busy_ns, clock=clock), ""

    def name(self) -> str:
        rise = self._recent.look()
        if rise is not None:
            busy_ns = rise[1]
            self._name = max(busy_ns, key=lambda name: busy_ns[name])
        return self._name
