"""What Linux lets a process say about itself. Imports next to nothing."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LIBC = ctypes.CDLL(None, use_errno=True)  # now: after a fork no library should be loaded


def die_with(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for a signal when the parent's thread that started this process ends. Where it has: exit."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(1)


def set_title(name: str) -> None:
    """The name that `ps -o comm` and `top` show, at most 15 characters."""
    _LIBC.prctl(_PR_SET_NAME, f"sz-{name}"[:15].encode())
