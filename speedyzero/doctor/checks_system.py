"""Checks of shared memory, memory and disk."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from speedyzero.config import Config
from speedyzero.doctor import readings
from speedyzero.doctor.finding import Finding, amount, ok, warning, wrong
from speedyzero.shm.run import SHM_MOUNT
from speedyzero.shm.sweep import sweep_dead_runs
from speedyzero.system import memory_limits, numba_cache

_NCCL_BYTES = 2**30  # of /dev/shm, which NCCL's documentation asks for
_RUN_BYTES = 2**29  # checkpoints, 100,000 to 300,000 compressed frames of Atari, metrics, a film


def system_findings(config: Config, *, gpus: int) -> Iterator[Finding]:
    """gpus: number the run uses. Whether it fits is checked as at its start (`supervisor/space.py`)."""
    shm_dir = Path(config.shm_dir) if config.shm_dir else None
    yield check_shared_memory(gpus=gpus)
    if SHM_MOUNT.is_dir() and (shm_dir is None or shm_dir.is_dir()):
        yield check_segments(shm_dir)
    yield check_memory()
    yield check_disk(config)
    yield check_cache()


def check_shared_memory(*, gpus: int) -> Finding:
    shm = readings.read_folder(SHM_MOUNT)
    if not shm.exists:
        fix = "mkdir /dev/shm; mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
        return wrong("shared memory", f"{shm.path} is missing", fix)
    if not shm.writable:
        return wrong("shared memory", f"{shm.path} (mode {shm.mode:o}) cannot be written", "sudo chmod 1777 /dev/shm")
    if shm.mode & stat.S_IWOTH and not shm.mode & stat.S_ISVTX:
        what = f"{shm.path} has mode {shm.mode:o}: other users could delete a run's segments"
        return warning("shared memory", what, "sudo chmod +t /dev/shm")
    if not memory_limits.is_in_memory(SHM_MOUNT):
        what = f"{shm.path} lies on a disk: every record crosses it"
        return warning("shared memory", what, "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
    if gpus > 1 and shm.total_bytes < _NCCL_BYTES:
        what = f"{shm.path} has {amount(shm.total_bytes)}: for several GPUs NCCL's documentation asks for 1 GiB"
        return warning("shared memory", what, "docker run --shm-size=1g (sudo mount -o remount,size=1g /dev/shm)")
    return ok("shared memory", f"{shm.path}, {amount(shm.free_bytes)} of {amount(shm.total_bytes)} free")


def check_segments(shm_dir: Path | None) -> Finding:
    swept = sweep_dead_runs(shm_dir, remove=False)
    alive = f"; {len(swept.live_runs)} of runs that are at work" if swept.live_runs else ""
    if swept.removed:
        size = sum(Path(path).lstat().st_size for path in swept.removed if os.path.lexists(path))
        return warning(
            "old segments",
            f"dead runs left {len(swept.removed)} objects, {amount(size)}, in shared memory{alive}",
            'the next run removes them, or: python -c "import speedyzero.shm as shm; shm.sweep_dead_runs()"',
        )
    return ok("old segments", f"none of dead runs{alive}")


def check_memory() -> Finding:
    memory = memory_limits.tightest_memory_limit()
    if memory is None:
        return warning("memory", "the kernel does not say how much there is", "free -h")
    return ok("memory", f"{amount(memory.free_bytes)} of {amount(memory.limit_bytes)} free, by {memory.where}")


def check_disk(config: Config) -> Finding:
    runs = readings.read_folder(Path(config.run_dir or "runs"), or_parent=True)
    if not runs.exists:
        return wrong("disk", f"{runs.path} is no directory", "--run-dir DIR")
    if not runs.writable:
        fix = f"--run-dir DIR (or chmod u+w {runs.path})"
        return wrong("disk", f"{runs.path} cannot be written, and runs go there", fix)
    what = f"{amount(runs.free_bytes)} free in {runs.path}"
    if runs.free_bytes < _RUN_BYTES:
        return warning(
            "disk", f"{what}, an Atari run may write {amount(_RUN_BYTES)}", "--run-dir DIR, on a larger disk"
        )
    return ok("disk", what)


def check_cache() -> Finding:
    folders = [readings.read_folder(path, or_parent=True) for path in numba_cache.candidates()]
    usable = [folder for folder in folders if folder.writable]
    if not usable:
        what = "numba can keep compiled code nowhere: not in " + " or ".join(str(folder.path) for folder in folders)
        return wrong("numba's cache", what, "export NUMBA_CACHE_DIR=/tmp/numba-cache")
    return ok("numba's cache", str(usable[0].path))
