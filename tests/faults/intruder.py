"""Another user who tries to get at a run's shared objects: `python -m tests.faults.intruder UID PATH ...`.

It prints what it managed to do, one line each; nothing is what it should manage.
"""

import os
import subprocess
import sys
from pathlib import Path

import posix_ipc

from speedyzero.shm import SegmentError, sweep_dead_runs

ROOT = Path(__file__).parents[2]
NOBODY = 65_534


def attack(paths, *, uid=NOBODY):
    """What a process of that user managed to do to the objects, as lines. Only root can start one."""
    command = [sys.executable, "-m", "tests.faults.intruder", str(uid), *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def main():
    uid, paths = int(sys.argv[1]), [Path(path) for path in sys.argv[2:]]
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    assert os.getuid() == os.geteuid() == uid
    for path in paths:
        for what, attempt in ATTEMPTS.items():
            try:
                attempt(path)
            except (OSError, posix_ipc.Error, SegmentError):
                continue
            print(f"{what} {path}")
    for path in sweep_dead_runs().removed:
        print("swept", path)


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


if __name__ == "__main__":
    main()
