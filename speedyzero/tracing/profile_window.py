"""When a profile begins and ends, whatever carries its spans.

--profile SECONDS   from when learning has begun, for so long         --profile   the whole run
either ends early with the run, or where there is more than a trace can hold
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
    def parse(cls, words: str) -> ProfileRequest:
        """words: as the user gave them, nothing for the whole run. Raises ValueError for what is no time."""
        if not words:
            return cls()
        try:
            seconds = float(words)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise ValueError(f"--profile {words}: must be seconds above 0, or left out for the whole run")
        return cls(seconds)


class ProfileWindow:
    """The state of one run's profile, as `process_spans.py` names it."""

    def __init__(self, request: ProfileRequest):
        self._seconds = request.seconds
        self.state = NOT_YET
        self.begin_ns = self.end_ns = 0
        self.learning_ns = 0  # when learning was seen to have begun; 0: not yet

    def follow(self, *, learning: bool, full: bool) -> bool:
        """Look at the clock. learning: whether it has begun. full: nothing more can be kept. Whether this changed."""
        before, now_ns = self.state, time.monotonic_ns()
        if learning and not self.learning_ns:
            self.learning_ns = now_ns
        if self.state == NOT_YET and (self._seconds is None or learning):
            self.state, self.begin_ns = WANTED, now_ns
        elif self.state == WANTED and (full or self._is_over(now_ns)):
            self.stop()
        return self.state != before

    def stop(self) -> None:
        """End now, if it has begun."""
        if self.state == WANTED:
            self.state, self.end_ns = NO_MORE, time.monotonic_ns()

    def _is_over(self, now_ns: int) -> bool:
        return self._seconds is not None and now_ns - self.begin_ns >= self._seconds * 1e9
