"""Another user who tries to get at a run's shared objects."""

import os

import posix_ipc

from speedyzero.shm import SegmentError, sweep_dead_runs
from tests.faults.rights import as_nobody


def attack(paths):
    """What another user managed to do to the objects, as lines; nothing is what it should manage. Only root can try."""
    managed = []
    with as_nobody():
        for path in paths:
            for what, attempt in ATTEMPTS.items():
                try:
                    attempt(path)
                except (OSError, posix_ipc.Error, SegmentError):
                    continue
                managed.append(f"{what} {path}")
        return managed + [f"swept {path}" for path in sweep_dead_runs().removed]


def posix_name(path):
    return "/" + path.name.removeprefix("sem.")


def open_by_name(path):
    if path.name.startswith("sem."):
        posix_ipc.Semaphore(posix_name(path))
    else:
        posix_ipc.SharedMemory(posix_name(path), read_only=True)


def unlink_by_name(path):
    unlink = posix_ipc.unlink_semaphore if path.name.startswith("sem.") else posix_ipc.unlink_shared_memory
    unlink(posix_name(path))


ATTEMPTS = {
    "read": lambda path: path.read_bytes(),
    "wrote": lambda path: os.close(os.open(path, os.O_WRONLY)),
    "truncated": lambda path: os.truncate(path, 0),
    "replaced": lambda path: path.rename(path.with_name("taken")),
    "opened": open_by_name,
    "changed the mode of": lambda path: path.chmod(0o666),
    "removed": lambda path: path.unlink(),
    "unlinked": unlink_by_name,
}
