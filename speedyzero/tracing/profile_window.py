"""When a profile begins and ends.

--profile SECONDS   that long, from the start of learning         --profile   the whole run
Both end early when the run ends or the trace is full.
"""

import math
import time

from speedyzero.tracing.process_spans import NO_MORE, NOT_YET, WANTED


def parse_seconds(text: str) -> float:
    """The length that `--profile` asks for; empty: infinite, the whole run. Raises ValueError if it is no duration."""
    if not text:
        return math.inf
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"--profile {text}: must be seconds above 0, or left out for the whole run")
    return seconds


class ProfileWindow:
    """The state of one run's profile; states as in `process_spans.py`."""

    def __init__(self, seconds: float):
        """seconds: infinite for the whole run."""
        self._seconds = seconds
        self.state = NOT_YET
        self.begin_ns = self.end_ns = 0
        self.learning_ns = 0  # when learning was first observed; 0: not yet

    def follow(self, *, learning: bool, full: bool) -> bool:
        """Update the state; returns whether it changed. learning: has begun. full: the store takes no more spans."""
        before, now_ns = self.state, time.monotonic_ns()
        if learning and not self.learning_ns:
            self.learning_ns = now_ns
        if self.state == NOT_YET and (math.isinf(self._seconds) or learning):
            self.state, self.begin_ns = WANTED, now_ns
        elif self.state == WANTED and (full or now_ns - self.begin_ns >= self._seconds * 1e9):
            self.stop()
        return self.state != before

    def stop(self) -> None:
        """End now, if recording."""
        if self.state == WANTED:
            self.state, self.end_ns = NO_MORE, time.monotonic_ns()
