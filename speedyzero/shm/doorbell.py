"""A semaphore that wakes a waiting process. It is only a hint; the state is in the shared counters.

A missed notification delays a waiter by up to 100 ms; a superfluous one costs one check. A dead process blocks no one,
because the semaphore is never held. Several rings may share one doorbell, so that a process can wait for any of them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

import posix_ipc

from speedyzero.shm.run import SHM_MOUNT, Run
from speedyzero.shm.segment import SegmentError

SLICE_S = 0.1
# No notification is added to this many pending ones. More than 1, because a waiter may take one after the count was
# read; few, so that a waiter drains old ones in microseconds.
_PENDING_MAX = 16


class Doorbell:
    """One process waits, any process notifies."""

    def __init__(self, run: Run, name: str, semaphore: posix_ipc.Semaphore):
        self.run, self.name, self._semaphore = run, name, semaphore

    @classmethod
    def create(cls, run: Run, name: str) -> Doorbell:
        """
        Raises:
            SegmentError: the name exists.
        """
        try:
            semaphore = posix_ipc.Semaphore("/" + run.object_name(name), flags=posix_ipc.O_CREX, mode=0o600)
        except (posix_ipc.ExistentialError, posix_ipc.PermissionsError) as error:
            raise SegmentError(f"semaphore {run.object_name(name)} exists already") from error
        return cls(run, name, semaphore)

    @classmethod
    def attach(cls, run: Run, name: str) -> Doorbell:
        """
        Raises:
            SegmentError: it does not exist, or belongs to another user.
        """
        full = run.object_name(name)
        try:
            semaphore = posix_ipc.Semaphore("/" + full)
            status = os.stat(SHM_MOUNT / f"sem.{full}")
        except (posix_ipc.ExistentialError, FileNotFoundError) as error:
            raise SegmentError(f"semaphore {full} does not exist") from error
        except posix_ipc.PermissionsError as error:
            raise SegmentError(f"semaphore {full}: uid {os.geteuid()} may not open it") from error
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            semaphore.close()
            raise SegmentError(
                f"semaphore {full} belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:o}, "
                f"this process is uid {os.geteuid()} and expects 600"
            )
        return cls(run, name, semaphore)

    def notify(self) -> None:
        if self._semaphore.value < _PENDING_MAX:
            self._semaphore.release()

    def wait(self, timeout_s: float) -> bool:
        """Wait up to 100 ms; whether a notification arrived. A signal ends the wait early with False."""
        try:
            self._semaphore.acquire(min(timeout_s, SLICE_S))
        except (posix_ipc.BusyError, posix_ipc.SignalError):
            return False
        return True

    def close(self) -> None:
        self._semaphore.close()

    def unlink(self) -> None:
        """Remove the name, if it exists."""
        try:
            self._semaphore.unlink()
        except posix_ipc.ExistentialError:
            return


def deadline_after(timeout_s: float) -> float:
    """The deadline of a wait on the monotonic clock.

    Raises:
        ValueError: timeout_s is negative, infinite or NaN.
    """
    if not 0 <= timeout_s < math.inf:
        raise ValueError(f"timeout_s={timeout_s}: must be 0 or more and finite")
    return time.monotonic() + timeout_s


def wait_until(
    ready: Callable[[], bool],
    bell: Doorbell,
    *,
    deadline: float,
    stop: Callable[[], bool] | None = None,
    add_blocked_ns: Callable[[int], None] | None = None,
) -> bool:
    """Wait for `ready()`; False at the deadline (of `time.monotonic()`) or once `stop()` is true.

    `ready` and `stop` are called after each notification, each signal, and at least every 100 ms. `add_blocked_ns`
    receives the time of each of these waits.
    """
    if ready():
        return True
    while stop is None or not stop():
        started = time.monotonic()
        if started >= deadline:
            return False
        bell.wait(deadline - started)
        if add_blocked_ns is not None:
            add_blocked_ns(int((time.monotonic() - started) * 1e9))
        if ready():
            return True
    return False
