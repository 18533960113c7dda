"""A lock for one writer at a time, released by the system if its process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_LOCKS = Path("/proc/locks")


class WriterLock:
    """Held from creation until `release`. Raises ValueError, with the holder's process id, if it is held already."""

    def __init__(self, path: str | Path, *, cargo: str):
        """cargo: what the lock protects, for error messages."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise ValueError(f"{cargo} is being written by process {holder} already; the lock is {path}") from error
        except OSError as error:  # a file system without locks
            os.close(self._descriptor)
            raise ValueError(f"{cargo} cannot be locked: {path}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # a full disk: the message then names no process or an older one
            os.pwrite(self._descriptor, f"{os.getpid():<20}\n".encode(), 0)

    @property
    def descriptor(self) -> int:
        """The open file, for child processes that also write: the lock is held until all have closed it."""
        return self._descriptor

    def release(self) -> None:
        """Release the lock. The file stays, because removing it would allow two holders."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether the lock on a file is held, without locking it, which could fail a starting writer."""
    if not path.is_file() or not _LOCKS.is_file():
        return False
    inode = path.stat().st_ino
    # 1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234 0 EOF
    fields = [line.split() for line in _LOCKS.read_text().splitlines()]
    return any("FLOCK" in line and any(word.endswith(f":{inode}") for word in line) for line in fields)


def holder_of(path: Path) -> str:
    """The process that last took a lock, as recorded in its file."""
    return path.read_text(errors="replace").strip() or "unknown"
