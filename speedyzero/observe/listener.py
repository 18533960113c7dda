"""Output that somebody may stop listening to: a terminal that is closed, a pipe whose reader has gone."""

from __future__ import annotations

import logging
import os
import signal
from typing import TextIO

_log = logging.getLogger("speedyzero.output")


class Listener:
    """A stream for progress and notes. The first write that fails is taken for what it is: a terminal hung up.

    So it raises SIGHUP in this process, which ends a run in order, and under nohup does nothing. What could not be
    written and all that follows is dropped, and log.txt says so: a failed write must never cut off what is to be done.
    """

    def __init__(self, stream: TextIO):
        self._stream: TextIO | None = stream

    def write(self, text: str) -> int:
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as error:
                self._hang_up(error)
        return len(text)

    def flush(self) -> None:
        """Every write is flushed."""

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Raises OSError where there is none, or nobody listens any more."""
        if self._stream is None:
            raise OSError("nobody listens any more")
        return self._stream.fileno()

    def _hang_up(self, error: OSError) -> None:
        broken, self._stream = self._stream, None
        assert broken is not None
        _log.warning("the output cannot be written any more (%s): taken for a hang-up", error)
        _leave_to_nobody(broken)
        os.kill(os.getpid(), signal.SIGHUP)


def _leave_to_nobody(broken: TextIO) -> None:
    """Point a broken stream, and standard output where it is the same, at /dev/null: Python flushes them at its end."""
    try:
        descriptor = broken.fileno()
    except (OSError, ValueError):  # no file of the system's
        return
    nobody = os.open(os.devnull, os.O_WRONLY)
    for number in {descriptor} | {one for one in (1, 2) if os.path.sameopenfile(one, descriptor)}:
        os.dup2(nobody, number)
    os.close(nobody)
