"""Remove what dead runs left in shared memory.

A run is dead when its owner, identified by pid and start time, has ended. Both are in every name (`run.py`), so no
object has to be opened.

The C library creates a semaphore as an empty `sem.XXXXXX`, writes it, and links it to its name. A process killed in
between leaves that file. Its run is unknown, but a file that is still empty after a minute is not in use.

Files of killed NCCL ranks (`nccl-XXXXXX`) are kept: their names contain no pid, and processes of another container that
shares the directory may have them mapped.
"""

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speedyzero.shm.liveness import is_alive, place
from speedyzero.shm.run import SHM_MOUNT, Run, run_id_of

UNNAMED_SEMAPHORE = re.compile(r"sem\.[A-Za-z0-9]{6}")
UNNAMED_FOR_S = 60.0  # creating one takes microseconds


@dataclass(frozen=True)
class SweepReport:
    removed: tuple[str, ...]  # paths
    live_runs: tuple[str, ...]  # run ids


def sweep_dead_runs(shm_dir: str | os.PathLike | None = None, *, remove: bool = True) -> SweepReport:
    """Remove the segments and semaphores of this user's dead runs from /dev/shm, and from `shm_dir` if given.

    Those of another boot, or of another container that shares the directory, stay: whether they are in use is unknown.
    remove: False only reports what would be removed.
    """

    def is_gone(path: Path) -> bool:
        return not remove or _remove(path)

    removed, live_runs = [], set()
    for path, run_id in _objects(shm_dir):
        run = Run(run_id)
        if run.place != place():
            continue
        if is_alive(run.owner):
            live_runs.add(run_id)
        elif is_gone(path):
            removed.append(str(path))
    removed += [str(path) for path in _unnamed_semaphores() if is_gone(path)]
    return SweepReport(tuple(removed), tuple(sorted(live_runs)))


def remove_run(run: Run) -> tuple[str, ...]:
    """Remove every name of one run, at its end; the paths removed. Attached processes keep their mappings."""
    return tuple(str(path) for path, run_id in _objects(run.shm_dir) if run_id == run.run_id and _remove(path))


def _objects(shm_dir: str | os.PathLike | None) -> Iterator[tuple[Path, str]]:
    """Every object owned by this user, with its run."""
    directories = [SHM_MOUNT]
    if shm_dir is not None and Path(shm_dir).resolve() != SHM_MOUNT:
        directories.append(Path(shm_dir).resolve())
    for directory in directories:
        for entry in sorted(directory.iterdir()):
            run_id = run_id_of(entry.name)
            if run_id is not None and _is_ours(entry):
                yield entry, run_id


def _unnamed_semaphores() -> Iterator[Path]:
    """Files left by this user's processes that were killed while creating a semaphore."""
    for path in SHM_MOUNT.iterdir():
        if UNNAMED_SEMAPHORE.fullmatch(path.name) and _is_ours(path):
            try:
                status = path.lstat()
            except FileNotFoundError:  # it has been renamed
                continue
            if status.st_size == 0 and time.time() - status.st_mtime > UNNAMED_FOR_S:
                yield path


def _is_ours(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False  # removed by another sweep
    return True
