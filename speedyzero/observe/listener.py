"""Output whose reader may disappear: a closed terminal, a broken pipe."""

import logging
import os
import signal
from typing import TextIO

_log = logging.getLogger("speedyzero.output")


class Listener:
    """A stream for progress and notes. The first failed write is treated as a hang-up of the terminal.

    It raises SIGHUP in this process, which ends a run cleanly (under nohup: does nothing). The failed text and all
    later text is dropped, and log.txt notes it: a failed write must never interrupt the work.
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
        """Does nothing: every write is flushed."""

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Raises OSError if the stream has none or is broken."""
        if self._stream is None:
            raise OSError("the output is closed")
        return self._stream.fileno()

    def _hang_up(self, error: OSError) -> None:
        broken, self._stream = self._stream, None
        assert broken is not None
        _log.warning("output can no longer be written (%s): treated as a hang-up", error)
        _redirect_to_null(broken)
        os.kill(os.getpid(), signal.SIGHUP)


def _redirect_to_null(broken: TextIO) -> None:
    """Redirect a broken stream, and standard output or error if the same file, to /dev/null: Python flushes at exit."""
    try:
        descriptor = broken.fileno()
    except (OSError, ValueError):  # not backed by a file descriptor
        return
    null = os.open(os.devnull, os.O_WRONLY)
    for number in {descriptor} | {one for one in (1, 2) if os.path.sameopenfile(one, descriptor)}:
        os.dup2(null, number)
    os.close(null)
