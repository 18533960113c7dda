"""Checks of shared memory, memory and disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from speedyzero.config import Config
from speedyzero.doctor import readings
from speedyzero.doctor.finding import Finding, amount, ok, warning, wrong
from speedyzero.doctor.need import Need
from speedyzero.doctor.readings import Folder
from speedyzero.shm.run import SHM_MOUNT
from speedyzero.shm.sweep import sweep_dead_runs
from speedyzero.system import memory_limits, numba_cache

_NCCL_BYTES = 2**30  # of /dev/shm, which NCCL's documentation asks for


def system_findings(config: Config, need: Need | None, *, gpus: int) -> Iterator[Finding]:
    """need: None if unknown. gpus: number the run uses."""
    shm_dir = Path(config.shm_dir) if config.shm_dir else None
    yield check_shared_memory(shm_dir, need, gpus=gpus)
    if SHM_MOUNT.is_dir() and (shm_dir is None or shm_dir.is_dir()):
        yield check_segments(shm_dir)
    yield check_memory(need)
    yield check_disk(Path(config.run_dir or "runs"), need)
    yield check_cache()


def check_shared_memory(shm_dir: Path | None, need: Need | None, *, gpus: int) -> Finding:
    shm, chosen = readings.read_folder(SHM_MOUNT), readings.read_folder(shm_dir) if shm_dir else None
    if not shm.exists:
        fix = "mkdir /dev/shm; mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
        return wrong("shared memory", f"{shm.path} is missing", fix)
    if not shm.writable:
        return wrong("shared memory", f"{shm.path} (mode {shm.mode:o}) cannot be written", "sudo chmod 1777 /dev/shm")
    if chosen is not None and not chosen.writable:
        return wrong("shared memory", f"shm_dir={chosen.path} cannot be written", f"mkdir -m 700 -p {chosen.path}")
    if need is not None:
        in_shm = need.always_in_shm_bytes + (need.shared_bytes if chosen is None else 0)
        if in_shm > shm.free_bytes:
            return _too_small(shm, in_shm, need.what)
        if chosen is not None and need.shared_bytes > chosen.free_bytes:
            what = f"{chosen.path} has {amount(chosen.free_bytes)} free, {need.what} takes {amount(need.shared_bytes)}"
            return wrong("shared memory", what, "shm_dir=DIR, on a larger disk")
    if shm.mode & stat.S_IWOTH and not shm.mode & stat.S_ISVTX:
        what = f"{shm.path} has mode {shm.mode:o}: other users could delete a run's segments"
        return warning("shared memory", what, "sudo chmod +t /dev/shm")
    if not memory_limits.is_in_memory(SHM_MOUNT):
        what = f"{shm.path} lies on a disk: every record crosses it"
        return warning("shared memory", what, "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
    if gpus > 1 and shm.total_bytes < _NCCL_BYTES:
        what = f"{shm.path} has {amount(shm.total_bytes)}: for several GPUs NCCL's documentation asks for 1 GiB"
        return warning("shared memory", what, "docker run --shm-size=1g (sudo mount -o remount,size=1g /dev/shm)")
    takes = f"; {need.what} takes {amount(need.shared_bytes + need.always_in_shm_bytes)}" if need is not None else ""
    return ok("shared memory", f"{shm.path}, {amount(shm.free_bytes)} of {amount(shm.total_bytes)} free{takes}")


def _too_small(shm: Folder, needed: int, what: str) -> Finding:
    size_mib = -(-(shm.total_bytes - shm.free_bytes + needed) // 2**20)
    return wrong(
        "shared memory",
        f"{shm.path} has {amount(shm.free_bytes)} free, {what} takes {amount(needed)}",
        f"sudo mount -o remount,size={size_mib}m /dev/shm (docker run --shm-size={size_mib}m, or shm_dir=DIR on disk)",
    )


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


def check_memory(need: Need | None) -> Finding:
    memory = memory_limits.tightest_memory_limit()
    if memory is None:
        return warning("memory", "the kernel does not say how much there is", "free -h")
    what = f"{amount(memory.free_bytes)} of {amount(memory.limit_bytes)} free, by {memory.where}"
    if need is not None and need.memory_bytes > memory.free_bytes:
        fix = "docker run --memory=... (or end other programs, or a smaller replay.capacity_steps)"
        return wrong("memory", f"{what}; {need.what} takes {amount(need.memory_bytes)} at least", fix)
    return ok("memory", what)


def check_disk(run_dir: Path, need: Need | None) -> Finding:
    runs = readings.read_folder(run_dir, or_parent=True)
    if not runs.exists:
        return wrong("disk", f"{runs.path} is no directory", "--run-dir DIR")
    if not runs.writable:
        fix = f"--run-dir DIR (or chmod u+w {runs.path})"
        return wrong("disk", f"{runs.path} cannot be written, and runs go there", fix)
    free = f"{amount(runs.free_bytes)} free in {runs.path}"
    if need is None:
        return ok("disk", free)
    writes = f"{need.what} writes about {amount(need.disk_bytes)}"
    if runs.free_bytes < need.disk_bytes:
        return wrong("disk", f"{free}, {writes}", "--run-dir DIR, on a larger disk (df -h names them)")
    return ok("disk", f"{free}; {writes}")


def check_cache() -> Finding:
    folders = [readings.read_folder(path, or_parent=True) for path in numba_cache.candidates()]
    usable = [folder for folder in folders if folder.writable]
    if not usable:
        what = "numba can keep compiled code nowhere: not in " + " or ".join(str(folder.path) for folder in folders)
        return wrong("numba's cache", what, "export NUMBA_CACHE_DIR=/tmp/numba-cache")
    return ok("numba's cache", str(usable[0].path))
