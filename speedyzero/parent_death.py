"""A process that dies with the one that started it, from its first moments on. Imports next to nothing.

A process that is spawned unpickles what it is to do, and with that imports torch: seconds on a busy machine, in which
its parent may be killed. So the first thing that is unpickled is a `DiesWithParent`, which asks the kernel for SIGKILL
when the parent's thread that started it ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent's thread that started this process ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before we asked
        sys.exit(1)


class DiesWithParent:
    """Has the process in which it is unpickled die with its parent. parent_pid: the one that pickles it."""

    def __init__(self, parent_pid: int):
        self.parent_pid = parent_pid

    def __reduce__(self) -> tuple[Callable[[int], DiesWithParent], tuple[int]]:
        return _armed, (self.parent_pid,)


def _armed(parent_pid: int) -> DiesWithParent:
    die_with(parent_pid)
    return DiesWithParent(parent_pid)


def begin(_guard: DiesWithParent, target: Callable[..., None], arguments: tuple) -> None:
    """What a spawned process is given as its target. Arguments are unpickled in their order: the guard comes first."""
    target(*arguments)
