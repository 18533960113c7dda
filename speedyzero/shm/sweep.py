"""Remove what dead runs left in shared memory, and only that.

A run is dead when its owner, by pid and start time, is no more. Both stand in every name (`run.py`), so an object needs
no header to be judged, and nothing that belongs to somebody else is ever opened.

One kind of object has no name yet: the C library makes a semaphore as an empty `sem.XXXXXX`, writes it, and links it to
its name. A process that is killed in between leaves that. Whose it was cannot be told, but an empty file is nobody's
semaphore, and one that is a minute old will not become one.

What NCCL leaves of killed ranks (`nccl-XXXXXX`) stays: its names carry no pid, and processes of another container that
shares the directory may have it mapped, which cannot be seen from here.
"""

from __future__ import annotations

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
UNNAMED_FOR_S = 60.0  # making one takes microseconds


@dataclass(frozen=True)
class SweepReport:
    """removed, elsewhere: paths; live_runs: run ids.

    elsewhere: of another boot or another container that shares the directory; whether it lives cannot be told here.
    """

    removed: tuple[str, ...]
    live_runs: tuple[str, ...]
    elsewhere: tuple[str, ...]


def sweep_dead_runs(shm_dir: str | os.PathLike | None = None, *, remove: bool = True) -> SweepReport:
    """Remove the segments and semaphores of this user's dead runs from /dev/shm, and from `shm_dir` if given.

    remove: False only says what would be removed.
    """

    def is_gone(path: Path) -> bool:
        return not remove or _remove(path)

    removed, live_runs, elsewhere = [], set(), []
    for path, run_id in _objects(shm_dir):
        run = Run(run_id)
        if run.place != place():
            elsewhere.append(str(path))
        elif is_alive(run.owner):
            live_runs.add(run_id)
        elif is_gone(path):
            removed.append(str(path))
    removed += [str(path) for path in _unnamed_semaphores() if is_gone(path)]
    return SweepReport(tuple(removed), tuple(sorted(live_runs)), tuple(elsewhere))


def remove_run(run: Run) -> tuple[str, ...]:
    """Remove every name of one run, at its end; the paths removed. Those attached keep their mappings."""
    return tuple(str(path) for path, run_id in _objects(run.shm_dir) if run_id == run.run_id and _remove(path))


def _objects(shm_dir: str | os.PathLike | None) -> Iterator[tuple[Path, str]]:
    """Every object that this user owns, with its run."""
    directories = [SHM_MOUNT]
    if shm_dir is not None and Path(shm_dir).resolve() != SHM_MOUNT:
        directories.append(Path(shm_dir).resolve())
    for directory in directories:
        for entry in sorted(directory.iterdir()):
            run_id = run_id_of(entry.name)
            if run_id is not None and _is_ours(entry):
                yield entry, run_id


def _unnamed_semaphores() -> Iterator[Path]:
    """What processes of this user left that were killed while they made a semaphore."""
    for path in SHM_MOUNT.iterdir():
        if UNNAMED_SEMAPHORE.fullmatch(path.name) and _is_ours(path):
            try:
                status = path.lstat()
            except FileNotFoundError:  # it has got its name
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
        return False  # another sweep was faster
    return True
