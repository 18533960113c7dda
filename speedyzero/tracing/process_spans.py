"""A role's process while its run is profiled: records when the supervisor wants it, and tells of the loop's rounds.

    supervisor's `profiling`:  NOT_YET -> WANTED -> NO_MORE     a process follows between two rounds, and says so by its
    own `profiling` once its last spans are on their way

Spans on the lowest level of a process follow one another: `step`, the waits, and what is done between two loops. Parts
of a step lie inside it. Waits for the same thing, polled every few milliseconds, are told as one.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

from speedyzero.topology.edges import WAITS
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.spans import Recorder, activate

NOT_YET, WANTED, NO_MORE = 0, 1, 2
_STEP = SPAN_NAMES.index("step")
_WAITS = {wait: SPAN_NAMES.index(wait.removesuffix("_ns")) for wait in WAITS}


class Activity(Protocol):
    """Something else that is recorded for as long as spans are, such as a GPU's kernels."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class ProcessSpans:
    """This process's spans."""

    def __init__(
        self,
        make_recorder: Callable[[], Recorder],
        *,
        wanted: Callable[[], int],
        acknowledged: Callable[[int], None],
        activity: Activity | None = None,
    ):
        """wanted: what the supervisor says now. acknowledged: told what was done accordingly."""
        self._make_recorder, self._wanted, self._acknowledged, self._activity = (
            make_recorder,
            wanted,
            acknowledged,
            activity,
        )
        self._state = NOT_YET
        self._recorder: Recorder | None = None
        self._wait, self._wait_start_ns, self._wait_end_ns = -1, 0, 0

    def follow(self) -> None:
        """Begin or end, where the supervisor has changed its mind. Between two rounds."""
        wanted = self._wanted()
        if wanted == self._state:
            return
        if wanted == WANTED:
            self._recorder = self._make_recorder()
            activate(self._recorder)
            if self._activity is not None:
                self._activity.begin()
        else:
            self.end()
        self._state = wanted
        self._acknowledged(wanted)

    def round(self, waited_for: str, start_ns: int, end_ns: int) -> None:
        """A turn of the loop. waited_for: one of WAITS; empty: it was a step."""
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
        """Hand on what there is, and record no more; nothing where nothing is recorded."""
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        activate(None)
        self._tell_wait(recorder)
        recorder.flush(monotonic_ns())
        if self._activity is not None:
            self._activity.end()

    def _tell_wait(self, recorder: Recorder) -> None:
        if self._wait >= 0:
            recorder.add(self._wait, self._wait_start_ns, self._wait_end_ns)
            self._wait = -1
