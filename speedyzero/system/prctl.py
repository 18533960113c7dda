"""Process attributes set by prctl(2). Imports little."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded now, because it should not be after a fork


def die_with(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Request a signal for the end of the parent thread that started this process; exit if it has ended."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # the parent died before the request
        os._exit(1)


def set_title(name: str) -> None:
    """Set the name shown by `ps -o comm` and `top`, at most 15 characters."""
    _LIBC.prctl(_PR_SET_NAME, f"sz-{name}"[:15].encode())
