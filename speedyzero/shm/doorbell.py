"""A semaphore that wakes a waiting process. It is only a hint; the state is in the shared counters.

A missed notification delays a waiter by up to 100 ms; a superfluous one costs one check. A dead process blocks no one,
because the semaphore is never held. Several rings may share one doorbell, so that a process can wait for any of them.
"""

from __future__ import annotations

import os

import posix_ipc

from speedyzero.shm.run import SHM_MOUNT, Run
from speedyzero.shm.segment import SegmentError

SLICE_S = 0.1
# No notification is added to this many pending ones. More than 1, because a waiter may take one after the count was
# read; few, so that a waiter drains old ones in microseconds.
_PENDING_MAX = 16


class Doorbell:
    """One process waits, any process notifies."""

    def __init__(self, semaphore: posix_ipc.Semaphore):
        self._semaphore = semaphore

    @classmethod
    def create(cls, run: Run, name: str) -> Doorbell:
        """
        Raises:
            SegmentError: the name exists.
        """
        full = run.object_name(name)
        try:
            return cls(posix_ipc.Semaphore("/" + full, flags=posix_ipc.O_CREX, mode=0o600))
        except posix_ipc.Error as error:
            raise SegmentError(f"semaphore {full}: {error}") from error

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
        except (posix_ipc.Error, FileNotFoundError) as error:
            raise SegmentError(f"semaphore {full}, uid {os.geteuid()}: {error}") from error
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            semaphore.close()
            raise SegmentError(
                f"semaphore {full} belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:o}, "
                f"this process is uid {os.geteuid()} and expects 600"
            )
        return cls(semaphore)

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
