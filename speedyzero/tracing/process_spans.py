"""Span recording in a role's process: starts and stops on the supervisor's request and records the loop's rounds.

    supervisor's `profiling`:  NOT_YET -> WANTED -> NO_MORE     a process follows between two rounds and acknowledges
    through its own `profiling` once its last spans are sent

Top-level spans of a process do not overlap: `step`, the waits, and work between two loops. Spans within a step are
nested in it. Consecutive polls of the same wait are merged into one span.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

from speedyzero.topology.edges import WAITS
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.spans import Recorder, activate

if TYPE_CHECKING:
    from torch.profiler import profile

NOT_YET, WANTED, NO_MORE = 0, 1, 2
_STEP = SPAN_NAMES.index("step")
_WAITS = {wait: SPAN_NAMES.index(wait.removesuffix("_ns")) for wait in WAITS}


class ProcessSpans:
    def __init__(
        self,
        make_recorder: Callable[[], Recorder],
        *,
        wanted: Callable[[], int],
        acknowledged: Callable[[int], None],
        activity: profile | None = None,
    ):
        """wanted: reads the state the supervisor requests. acknowledged: called with the state once it is reached.

        activity: records the process's GPU for as long as the spans.
        """
        self._make_recorder, self._wanted, self._acknowledged = make_recorder, wanted, acknowledged
        self._activity = activity
        self._state = NOT_YET
        self._recorder: Recorder | None = None
        self._wait, self._wait_start_ns, self._wait_end_ns = -1, 0, 0

    def follow(self) -> None:
        """Begin or end recording if the requested state has changed. Call between two rounds."""
        wanted = self._wanted()
        if wanted == self._state:
            return
        if wanted == WANTED:
            self._recorder = self._make_recorder()
            activate(self._recorder)
            if self._activity is not None:
                self._activity.start()
        else:
            self.end()
        self._state = wanted
        self._acknowledged(wanted)

    def round(self, waited_for: str, start_ns: int, end_ns: int) -> None:
        """Record one round of the loop. waited_for: one of WAITS; empty for a step."""
        recorder = self._recorder
        if recorder is None:
            return
        if not waited_for:
            self._tell_wait(recorder)
            recorder.add(_STEP, start_ns, end_ns)
        else:
            number = _WAITS[waited_for]
            if number != self._wait or start_ns != self._wait_end_ns:
                self._tell_wait(recorder)
                self._wait, self._wait_start_ns = number, start_ns
            self._wait_end_ns = end_ns
        if recorder.is_old(end_ns):
            self._tell_wait(recorder)
            recorder.flush(end_ns)

    def end(self) -> None:
        """Send the buffered spans and stop recording, if recording."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        activate(None)
        self._tell_wait(recorder)
        recorder.flush(monotonic_ns())
        if self._activity is not None:
            self._activity.stop()

    def _tell_wait(self, recorder: Recorder) -> None:
        if self._wait >= 0:
            recorder.add(self._wait, self._wait_start_ns, self._wait_end_ns)
            self._wait = -1
