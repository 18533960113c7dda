"""The turns of an inline run: the time that each role takes, and their profile, a track for each role.

Turns are timed without a profile, too, by one clock read each: progress shows the bottleneck.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from speedyzero.runtime.local_edges import MemoryBoard
from speedyzero.runtime.wiring import SUPERVISOR, WaitsOn, in_turns
from speedyzero.supervisor.profile_counts import Counts
from speedyzero.system.host_figures import machine_cpu_s
from speedyzero.topology.records import SPAN_NAMES, SpanBlock
from speedyzero.tracing.spans import Recorder, activate, active

_STEP = SPAN_NAMES.index("step")


class Turns:
    """Books the time of each role's turns, from the end of the turn before. Keys: process names, as in a process run.

    A turn that raises is not booked: the run ends.
    """

    def __init__(self) -> None:
        self.busy_ns = dict.fromkeys((*in_turns(), SUPERVISOR), 0)
        self.recorders: dict[str, Recorder] = {}  # by role, while recording
        self._ended_ns = time.monotonic_ns()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        recorder, supervisors, started_ns = self.recorders.get(name), active(), self._ended_ns
        activate(recorder)
        try:
            yield
        finally:
            activate(supervisors)
        self._end(name)
        if recorder is not None:
            recorder.add(_STEP, started_ns, self._ended_ns)

    def end_supervisors(self) -> None:
        """Book the time since the last turn on the supervisor."""
        self._end(SUPERVISOR)

    def _end(self, name: str) -> None:
        started_ns, self._ended_ns = self._ended_ns, time.monotonic_ns()
        self.busy_ns[name] += self._ended_ns - started_ns


class ProfiledTurns:
    """An inline run as read for its profile; see `ProfiledProcesses`."""

    inline, all_acknowledged = True, True

    def __init__(self, turns: Turns, board: MemoryBoard):
        self._turns, self._board, self._first_step = turns, board, board.train_steps
        self._blocks: list[tuple[str, SpanBlock]] = []
        self._before = Counts()
        self.tracks = tuple(turns.busy_ns)
        self.waits_on: WaitsOn = in_turns()

    @property
    def learning(self) -> bool:
        return self._board.train_steps > self._first_step

    def begin(self) -> None:
        self._before = _counts()
        self._turns.recorders |= {name: Recorder(self._keeper(name)) for name in in_turns()}

    def end(self) -> Counts:
        counts = self.counts_since_begin()
        self._flush()
        self._turns.recorders.clear()
        return counts

    def counts_since_begin(self) -> Counts:
        return _counts().plus(self._before, sign=-1)

    def blocks(self) -> Iterator[tuple[str, SpanBlock]]:
        self._flush(only_old=True)
        while self._blocks:
            yield self._blocks.pop(0)

    def look_at_processes(self) -> None:
        """There is one, which never waits for a core unseen."""

    def levels(self) -> dict[str, int]:
        return {"env_steps": self._board.env_steps, "train_steps": self._board.train_steps}

    def _flush(self, *, only_old: bool = False) -> None:
        now_ns = time.monotonic_ns()
        for recorder in self._turns.recorders.values():
            if not only_old or recorder.is_old(now_ns):
                recorder.flush(now_ns)

    def _keeper(self, name: str) -> Callable[[SpanBlock], bool]:
        def keep(block: SpanBlock) -> bool:
            self._blocks.append((name, replace(block, span=block.span[: block.count].copy())))
            return True

        return keep


def _counts() -> Counts:
    return Counts({(SUPERVISOR, "busy_cpu_ns"): time.process_time_ns()}, machine_cpu_s=machine_cpu_s())
