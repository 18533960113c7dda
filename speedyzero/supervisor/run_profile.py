"""The profile of a run, as processes or inline: starts and ends recording, collects spans, writes the trace.

    window begins -> `profiling` in the supervisor's row of the board -> every process sends blocks through its ring
    window ends -> every process sends the rest and acknowledges -> the trace is written while the run continues

The supervisor records itself, too. A run that restarts from a checkpoint continues in the same profile.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from speedyzero.config import Config
from speedyzero.config.documents import config_document
from speedyzero.runtime.wiring import SUPERVISOR
from speedyzero.supervisor.profile_counts import Counts, ProfiledProcesses
from speedyzero.supervisor.turns import ProfiledTurns
from speedyzero.tracing.process_spans import NO_MORE, WANTED
from speedyzero.tracing.profile_window import ProfileWindow
from speedyzero.tracing.span_store import SpanStore
from speedyzero.tracing.spans import Recorder, Span, activate
from speedyzero.tracing.trace import TRACE_FILE, Trace, Track, put_aside, settled_spans, write_trace

SAMPLE_EVERY_NS = 100_000_000
LAST_SPANS_S = 10.0  # for a process that is in the middle of a step when the profile ends
_COLLECT = Span("collect_spans")
_log = logging.getLogger("speedyzero.supervisor")

ProfiledRun = ProfiledProcesses | ProfiledTurns
"""One start of a run as read for its profile."""


class RunProfile:
    """Does nothing in unprofiled runs. `attach` and `detach` enclose each start of the run, `follow` runs between."""

    def __init__(self, seconds: float | None, config: Config, run_dir: Path, *, note: Callable[[str], None]):
        """seconds: to be profiled, infinite for the whole run; None: no profile."""
        self._window = None if seconds is None else ProfileWindow(seconds)
        self._store, self._counts = SpanStore(), Counts()
        self._config, self._path, self._note = config, run_dir / TRACE_FILE, note
        self._own: Recorder | None = None
        self._run: ProfiledRun | None = None  # while attached
        self._last_run: ProfiledRun | None = None
        self._sampled_ns, self._is_written = 0, False

    def attach(self, make: Callable[[], ProfiledRun]) -> None:
        """Before the roles start. make: called if the run is profiled."""
        if self._window is not None:
            run = self._run = self._last_run = make()
            if self._window.state == WANTED:
                self._begin(run)
            self.follow()

    def follow(self) -> None:
        """Collect what has arrived; begin, end or write when due."""
        run, window = self._run, self._window
        if run is None or window is None or self._is_written:
            return
        with _COLLECT:
            self._take_in(run)
        if window.follow(learning=run.learning, full=self._store.full):
            if window.state == WANTED:
                self._begin(run)
            else:
                self._end(run)
        is_late = time.monotonic_ns() - window.end_ns > LAST_SPANS_S * 1e9
        if window.state == NO_MORE and (run.all_acknowledged or is_late):
            self._take_in(run)
            self._write(window, run)

    def stop(self) -> None:
        """The run is over: end the window."""
        if self._run is not None and self._window is not None and self._window.state == WANTED:
            self._window.stop()
            self._end(self._run)

    def detach(self) -> None:
        """After the roles have ended, before their shared memory is removed."""
        run, self._run = self._run, None
        if run is None or self._window is None:
            return
        self._take_in(run)
        if self._window.state == WANTED:  # the run restarts or failed
            self._silence()
            self._counts = self._counts.plus(run.counts_since_begin())

    def close(self) -> None:
        """Write the trace, if it is not written yet."""
        if self._window is not None and self._last_run is not None:
            self._window.stop()
            self._write(self._window, self._last_run)

    def _begin(self, run: ProfiledRun) -> None:
        self._own = Recorder(lambda block: self._store.add(SUPERVISOR, block))
        activate(self._own)
        run.begin()

    def _end(self, run: ProfiledRun) -> None:
        self._silence()
        self._counts = self._counts.plus(run.end())

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

    def _write(self, window: ProfileWindow, run: ProfiledRun) -> None:
        """Once. An earlier trace is renamed; a failed write is reported."""
        if self._is_written:
            return
        self._is_written = True
        if not window.begin_ns:
            self._note("nothing was profiled: the run ended before training began")
            return
        trace = self._trace(window, run)
        try:
            put_aside(self._path)
            write_trace(trace, self._path)
        except OSError as error:
            _log.warning("%s", error)
            self._note(f"the profile could not be written, the run continues: {error}")
            return
        bounded = f", the most that a trace holds ({self._store.kept} spans and samples)" if self._store.full else ""
        dropped = sum(track.dropped for track in trace.tracks)
        lost = f", {dropped} spans were lost" if dropped else ""
        self._note(
            f"profile of {trace.end_ns / 1e9:.1f} s{bounded}{lost}: {self._path}; read it with: python -m speedyzero "
            f"profile {self._path.parent}"
        )

    def _trace(self, window: ProfileWindow, run: ProfiledRun) -> Trace:
        begin_ns, length_ns = window.begin_ns, window.end_ns - window.begin_ns
        return Trace(
            inline=run.inline,
            end_ns=length_ns,
            learning_ns=min(max(0, window.learning_ns - begin_ns), length_ns) if window.learning_ns else length_ns,
            tracks=[self._track(name, begin_ns) for name in run.tracks],
            samples={
                name: [(time_ns - begin_ns, value) for time_ns, value in samples]
                for name, samples in self._store.samples().items()
            },
            waits_on=run.waits_on,
            cores=len(os.sched_getaffinity(0)),
            machine_cpu_s=self._counts.machine_cpu_s,
            settings=config_document(self._config),
        )

    def _track(self, process: str, begin_ns: int) -> Track:
        counts = self._counts
        return Track(
            name=process,
            spans=settled_spans(self._store.spans(process), begin_ns),
            covered=[(since_ns - begin_ns, until_ns - begin_ns) for since_ns, until_ns in self._store.covered(process)],
            dropped=counts.of_processes.get((process, "dropped_spans"), 0),
            busy_cpu_s=counts.of_processes.get((process, "busy_cpu_ns"), 0) / 1e9,
            wait_cpu_s=counts.of_processes.get((process, "wait_cpu_ns"), 0) / 1e9,
            core_wait_s=counts.core_wait_s.get(process),
        )
