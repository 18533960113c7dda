"""Counts stop signals (Ctrl-C, SIGTERM, a closed terminal, a batch system's warning), so that a run ends in order."""

from __future__ import annotations

import signal

from speedyzero.system import stop_signals

HURRY = 2  # interruptions after which nothing more is waited for


class Interrupts:
    """Counts `STOP_SIGNALS` instead of raising: the first ends the run in order, further ones hurry it.

    A warning counts only as the first: a limit on processor time sends one each second. Ignored signals, such as SIGHUP
    under nohup, stay ignored.
    """

    def __init__(self, *, raise_at: int = 0) -> None:
        """raise_at: the count at which KeyboardInterrupt is raised; 0: never."""
        self.count = 0
        self._raises, self._raise_at = False, raise_at

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._note) for number in stop_signals.not_ignored()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_from_now_on(self) -> None:
        """Raise KeyboardInterrupt for past and future signals: all other processes have ended."""
        self._raises = True
        if self.count:
            raise KeyboardInterrupt

    def _note(self, number: int, _frame: object) -> None:
        if number in stop_signals.WARNINGS and self.count:
            return
        self.count += 1
        if self._raises or self.count == self._raise_at:
            raise KeyboardInterrupt
