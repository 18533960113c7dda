"""The profile of an inline run: one track for each role's turns, and one for the supervisor's work between them.

Turns are timed without a profile, too, by one clock read each: progress shows the bottleneck.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from speedyzero.config import Config
from speedyzero.runtime.waits import in_turns, role_of
from speedyzero.runtime.wiring import SUPERVISOR
from speedyzero.supervisor.trace_keeper import TraceKeeper
from speedyzero.system.host_figures import machine_cpu_s
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.process_spans import WANTED
from speedyzero.tracing.profile_window import ProfileRequest, ProfileWindow
from speedyzero.tracing.span_store import SpanStore
from speedyzero.tracing.spans import Recorder, activate
from speedyzero.tracing.trace import Track, settled_spans

_STEP = SPAN_NAMES.index("step")


class Turns:
    """Books the time of each role's turns, from the end of the turn before. Keys: process names, as in a process run.

    A turn that raises is not booked: the run ends.
    """

    def __init__(self) -> None:
        self.busy_ns = dict.fromkeys((*in_turns(), SUPERVISOR), 0)
        self.recorders: dict[str, Recorder] = {}  # while recording
        self._ended_ns = time.monotonic_ns()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        recorder, started_ns = self.recorders.get(name), self._ended_ns
        activate(recorder)
        try:
            yield
        finally:
            activate(None)
        self._ended_ns = time.monotonic_ns()
        self.busy_ns[name] += self._ended_ns - started_ns
        if recorder is not None:
            recorder.add(_STEP, started_ns, self._ended_ns)


class InlineProfile:
    """Profiler for profiled inline runs."""

    def __init__(
        self, request: ProfileRequest, config: Config, run_dir: Path, turns: Turns, *, note: Callable[[str], None]
    ):
        self._window, self._store, self._turns = ProfileWindow(request), SpanStore(), turns
        self._keeper = TraceKeeper(config, run_dir, note=note)
        self._cpu_s = self._machine_cpu_s = 0.0

    def after_turn(self, *, env_steps: int, train_steps: int, learning: bool) -> None:
        """Call between two rounds of turns. learning: whether training has begun."""
        if self._window.follow(learning=learning, full=self._store.full):
            if self._window.state == WANTED:
                self._begin()
            else:
                self.close()
        now_ns = time.monotonic_ns()
        recorders = self._turns.recorders
        for recorder in recorders.values():
            if recorder.is_old(now_ns):
                recorder.flush(now_ns)
        if recorders:
            self._store.sample(now_ns, {"env_steps": env_steps, "train_steps": train_steps})

    def close(self) -> None:
        """Stop recording and write the trace, if it is not written yet."""
        self._window.stop()
        for recorder in self._turns.recorders.values():
            recorder.flush(time.monotonic_ns())
        if self._turns.recorders:
            self._cpu_s = time.process_time() - self._cpu_s
            self._machine_cpu_s = machine_cpu_s() - self._machine_cpu_s
        self._turns.recorders.clear()
        if not self._keeper.is_written:
            self._keeper.write(
                self._window,
                self._store,
                inline=True,
                tracks=[self._track(name) for name in self._turns.busy_ns],
                rings=(),
                waits_on=in_turns(),
                machine_cpu_s=self._machine_cpu_s,
            )

    def _begin(self) -> None:
        self._cpu_s, self._machine_cpu_s = time.process_time(), machine_cpu_s()
        for name in self._turns.busy_ns:
            self._turns.recorders[name] = Recorder(self._sender(name))

    def _sender(self, name: str) -> Callable:
        return lambda block: self._store.add(name, block)

    def _track(self, name: str) -> Track:
        begin_ns = self._window.begin_ns
        return Track(
            name=name,
            role=role_of(name),
            spans=settled_spans(self._store.spans(name), begin_ns),
            covered=[(since_ns - begin_ns, until_ns - begin_ns) for since_ns, until_ns in self._store.covered(name)],
            busy_cpu_s=self._cpu_s if name == SUPERVISOR else 0.0,
        )
