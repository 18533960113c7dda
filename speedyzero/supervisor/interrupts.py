"""Ctrl-C, SIGTERM and a terminal that hangs up as a count, so that a run ends in order."""

from __future__ import annotations

import signal

HURRY = 2  # interruptions that say: do not wait


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP instead of raising: the first ends the run in order, more of them hurry.

    SIGHUP stays ignored where it is, as under nohup.
    """

    def __init__(self, *, raise_at: int = 0) -> None:
        """raise_at: the signal that raises KeyboardInterrupt after all; 0: none."""
        self.count = 0
        self._raises, self._raise_at = False, raise_at

    def __enter__(self) -> Interrupts:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_from_now_on(self) -> None:
        """Raise KeyboardInterrupt for the signals that came and for those to come: all others have ended."""
        self._raises = True
        if self.count:
            raise KeyboardInterrupt

    def _note(self, *_: object) -> None:
        self.count += 1
        if self._raises or self.count == self._raise_at:
            raise KeyboardInterrupt
