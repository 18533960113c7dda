"""When a profile begins and ends.

--profile SECONDS   that long, from the start of learning         --profile   the whole run
Both end early when the run ends or the trace is full.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from speedyzero.tracing.process_spans import NO_MORE, NOT_YET, WANTED


@dataclass(frozen=True)
class ProfileRequest:
    """seconds: None for the whole run."""

    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> ProfileRequest:
        """text: the argument as given, empty for the whole run. Raises ValueError if it is not a duration."""
        if not text:
            return cls()
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ValueError(f"--profile {text}: must be seconds above 0, or left out for the whole run")
        return cls(seconds)


class ProfileWindow:
    """The state of one run's profile; states as in `process_spans.py`."""

    def __init__(self, request: ProfileRequest):
        self._seconds = request.seconds
        self.state = NOT_YET
        self.begin_ns = self.end_ns = 0
        self.learning_ns = 0  # when learning was first observed; 0: not yet

    def follow(self, *, learning: bool, full: bool) -> bool:
        """Update the state; returns whether it changed. learning: has begun. full: the store takes no more spans."""
        before, now_ns = self.state, time.monotonic_ns()
        if learning and not self.learning_ns:
            self.learning_ns = now_ns
        if self.state == NOT_YET and (self._seconds is None or learning):
            self.state, self.begin_ns = WANTED, now_ns
        elif self.state == WANTED and (full or self._is_over(now_ns)):
            self.stop()
        return self.state != before

    def stop(self) -> None:
        """End now, if recording."""
        if self.state == WANTED:
            self.state, self.end_ns = NO_MORE, time.monotonic_ns()

    def _is_over(self, now_ns: int) -> bool:
        return self._seconds is not None and now_ns - self.begin_ns >= self._seconds * 1e9
