"""The profile of a run, as processes or inline: starts and ends recording, collects spans, writes the trace.

    window begins -> `profiling` in the supervisor's row of the board -> every process sends blocks through its ring
    window ends -> every process sends the rest and acknowledges -> the trace is written while the run continues

The supervisor records itself, too. A run that restarts from a checkpoint continues in the same profile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from speedyzero.config import Config
from speedyzero.runtime.role_process import kernels_file
from speedyzero.runtime.waits import role_of
from speedyzero.runtime.wiring import SUPERVISOR
from speedyzero.shm import RingSpec
from speedyzero.supervisor.profile_counts import RING_COUNTS, Counts, CountsWithin, ProfiledRun
from speedyzero.supervisor.trace_keeper import TraceKeeper
from speedyzero.tracing.kernel_activity import read_kernels
from speedyzero.tracing.process_spans import NO_MORE, WANTED
from speedyzero.tracing.profile_window import ProfileRequest, ProfileWindow
from speedyzero.tracing.span_store import SpanStore
from speedyzero.tracing.spans import Recorder, Span, activate
from speedyzero.tracing.trace import Kernel, RingUse, Track, settled_spans

SAMPLE_EVERY_NS = 100_000_000
LAST_SPANS_S = 10.0  # for a process that is in the middle of a step when the profile ends
_COLLECT = Span("collect_spans")


class RunProfiler:
    """For unprofiled runs: does nothing. `attach` and `detach` enclose each start of the run, `follow` runs between."""

    def attach(self, make: Callable[[], ProfiledRun]) -> None:
        """Before the roles start. make: called if the run is profiled."""

    def follow(self) -> None:
        """Collect what has arrived; begin, end or write when due."""

    def stop(self) -> None:
        """The run is over: end the window."""

    def detach(self) -> None:
        """After the roles have ended, before their shared memory is removed."""

    def close(self) -> None:
        """Write the trace, if it is not written yet."""


def profile_of(
    request: ProfileRequest | None, config: Config, run_dir: Path, *, note: Callable[[str], None]
) -> RunProfiler:
    return RunProfiler() if request is None else RunProfile(request, config, run_dir, note=note)


class RunProfile(RunProfiler):
    """Profiler for profiled runs."""

    def __init__(self, request: ProfileRequest, config: Config, run_dir: Path, *, note: Callable[[str], None]):
        self._window, self._store = ProfileWindow(request), SpanStore()
        self._keeper, self._run_dir = TraceKeeper(config, run_dir, note=note), run_dir
        self._within = CountsWithin()
        self._own: Recorder | None = None
        self._run: ProfiledRun | None = None  # while attached
        self._last_run: ProfiledRun | None = None
        self._sampled_ns = 0

    def attach(self, make: Callable[[], ProfiledRun]) -> None:
        run = self._run = self._last_run = make()
        if self._window.state == WANTED:
            self._begin(run)
        self.follow()

    def follow(self) -> None:
        run = self._run
        if run is None or self._keeper.is_written:
            return
        with _COLLECT:
            self._take_in(run)
        if self._window.follow(learning=run.learning, full=self._store.full):
            if self._window.state == WANTED:
                self._begin(run)
            else:
                self._end(run)
        if self._window.state == NO_MORE and (run.all_acknowledged or self._is_late()):
            self._take_in(run)
            self._write()

    def stop(self) -> None:
        if self._run is not None and self._window.state == WANTED:
            self._window.stop()
            self._end(self._run)

    def detach(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self._take_in(run)
        if self._window.state == WANTED:  # the run restarts or failed
            self._silence()
            self._within.add(run.counts_since_begin())

    def close(self) -> None:
        self._window.stop()
        self._write()

    def _begin(self, run: ProfiledRun) -> None:
        self._own = Recorder(lambda block: self._store.add(SUPERVISOR, block))
        activate(self._own)
        run.begin()

    def _end(self, run: ProfiledRun) -> None:
        self._silence()
        self._within.add(run.end())

    def _silence(self) -> None:
        if self._own is not None:
            activate(None)
            self._own.flush(time.monotonic_ns())
            self._own = None

    def _take_in(self, run: ProfiledRun) -> None:
        for process, block in run.blocks():
            self._store.add(process, block)
        now_ns = time.monotonic_ns()
        if self._own is None:
            return
        run.look_at_processes()
        if self._own.is_old(now_ns):
            self._own.flush(now_ns)
        if now_ns - self._sampled_ns >= SAMPLE_EVERY_NS:
            self._sampled_ns = now_ns
            self._store.sample(now_ns, run.levels())

    def _is_late(self) -> bool:
        return time.monotonic_ns() - self._window.end_ns > LAST_SPANS_S * 1e9

    def _write(self) -> None:
        run = self._last_run
        if run is None or self._keeper.is_written:
            return
        counts = self._within.total
        self._keeper.write(
            self._window,
            self._store,
            inline=run.inline,
            tracks=[self._track(process, device, counts) for process, device in run.devices.items()],
            rings=[_ring_use(spec, counts) for spec in run.rings],
            waits_on=run.waits_on,
            machine_cpu_s=counts.machine_cpu_s,
        )

    def _track(self, process: str, device: str, counts: Counts) -> Track:
        begin_ns = self._window.begin_ns
        return Track(
            name=process,
            role=role_of(process),
            device=device,
            spans=settled_spans(self._store.spans(process), begin_ns),
            covered=[(since_ns - begin_ns, until_ns - begin_ns) for since_ns, until_ns in self._store.covered(process)],
            dropped=counts.of_processes.get((process, "dropped_spans"), 0),
            busy_cpu_s=counts.of_processes.get((process, "busy_cpu_ns"), 0) / 1e9,
            wait_cpu_s=counts.of_processes.get((process, "wait_cpu_ns"), 0) / 1e9,
            core_wait_s=counts.core_wait_s.get(process),
            kernels=self._kernels(process),
        )

    def _kernels(self, process: str) -> list[Kernel]:
        """A process's GPU kernels, if recorded. Deletes their file."""
        path = kernels_file(self._run_dir, process)
        if not path.exists():
            return []
        kernels = read_kernels(path, self._window.begin_ns)
        path.unlink()
        return kernels


def _ring_use(spec: RingSpec, counts: Counts) -> RingUse:
    produced, consumed, dropped = (counts.of_rings.get((spec.name, count), 0) for count in RING_COUNTS)
    return RingUse(
        name=spec.name,
        producer=spec.producer_bell.removeprefix("bell."),
        consumer=spec.consumer_bell.removeprefix("bell."),
        record_bytes=spec.layout.payload_bytes,
        slots=spec.slots,
        produced=produced,
        consumed=consumed,
        dropped=dropped,
    )
