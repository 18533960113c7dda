"""Checks of shared memory, memory, CPUs, limits and disk. Pure functions of a `Machine` and a `Need`."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from speedyzero.doctor.finding import Finding, ok, warning, wrong
from speedyzero.doctor.machine import Folder, Machine
from speedyzero.doctor.need import Need

_USUAL_OPEN_FILES = 1024
_LOCKED_BYTES = 64 * 2**20  # the least that NCCL pins for InfiniBand, according to its documentation
_NCCL_BYTES = 2**30
_FEWEST_FILES = 1000  # a run's directory holds some hundreds
_LARGE_FILE_BYTES = 2**30


def system_findings(machine: Machine, need: Need | None, *, gpus: int) -> Iterator[Finding]:
    """need: None if unknown."""
    usable = min(gpus, len(machine.torch.gpus))
    yield check_shared_memory(machine, need, gpus=usable)
    yield check_segments(machine)
    yield check_memory(machine, need)
    yield check_cpus(machine)
    yield check_open_files(machine, need)
    yield check_locked_memory(machine, gpus=usable)
    yield check_threads(machine, need)
    yield check_file_size(machine)
    yield check_disk(machine, need)
    yield check_cache(machine)


def check_shared_memory(machine: Machine, need: Need | None, *, gpus: int) -> Finding:
    shm, chosen = machine.shm, machine.shm_dir
    if not shm.exists:
        return wrong(
            "shared memory", f"{shm.path} is missing", "mkdir /dev/shm; mount -t tmpfs -o mode=1777 tmpfs /dev/shm"
        )
    if not shm.writable:
        return wrong("shared memory", f"{shm.path} (mode {shm.mode:o}) cannot be written", "sudo chmod 1777 /dev/shm")
    if chosen is not None and not chosen.writable:
        return wrong("shared memory", f"shm_dir={chosen.path} cannot be written", f"mkdir -m 700 -p {chosen.path}")
    if need is not None:
        in_shm = need.always_in_shm_bytes + (need.shared_bytes if chosen is None else 0)
        if in_shm > shm.free_bytes:
            return _too_small(shm, in_shm, need.what)
        if chosen is not None and need.shared_bytes > chosen.free_bytes:
            what = f"{chosen.path} has {_mib(chosen.free_bytes)} free, {need.what} takes {_mib(need.shared_bytes)}"
            return wrong("shared memory", what, "shm_dir=DIR, on a larger disk")
    if shm.mode & stat.S_IWOTH and not shm.mode & stat.S_ISVTX:
        what = f"{shm.path} has mode {shm.mode:o}: other users could delete a run's segments"
        return warning("shared memory", what, "sudo chmod +t /dev/shm")
    if not machine.shm_in_memory:
        what = f"{shm.path} lies on a disk: every record crosses it"
        return warning("shared memory", what, "sudo mount -t tmpfs -o mode=1777 tmpfs /dev/shm")
    if gpus > 1 and shm.total_bytes < _NCCL_BYTES:
        what = f"{shm.path} has {_mib(shm.total_bytes)}: for several GPUs NCCL's documentation asks for 1 GiB"
        return warning("shared memory", what, "docker run --shm-size=1g (sudo mount -o remount,size=1g /dev/shm)")
    takes = f"; {need.what} takes {_mib(need.shared_bytes + need.always_in_shm_bytes)}" if need is not None else ""
    return ok("shared memory", f"{shm.path}, {_mib(shm.free_bytes)} of {_mib(shm.total_bytes)} free{takes}")


def _too_small(shm: Folder, needed: int, what: str) -> Finding:
    size_mib = -(-(shm.total_bytes - shm.free_bytes + needed) // 2**20)
    return wrong(
        "shared memory",
        f"{shm.path} has {_mib(shm.free_bytes)} free, {what} takes {_mib(needed)}",
        f"sudo mount -o remount,size={size_mib}m /dev/shm (docker run --shm-size={size_mib}m, or shm_dir=DIR on disk)",
    )


def check_segments(machine: Machine) -> Finding:
    left = machine.left
    alive = f"; {left.live_runs} of runs that are at work" if left.live_runs else ""
    if left.objects:
        return warning(
            "old segments",
            f"dead runs left {left.objects} objects, {_mib(left.size_bytes)}, in shared memory{alive}",
            'the next run removes them, or: python -c "import speedyzero.shm as shm; shm.sweep_dead_runs()"',
        )
    return ok("old segments", f"none of dead runs{alive}")


def check_memory(machine: Machine, need: Need | None) -> Finding:
    memory = machine.memory
    if memory is None:
        return warning("memory", "the kernel does not say how much there is", "free -h")
    what = f"{_gib(memory.free_bytes)} of {_gib(memory.limit_bytes)} free, by {memory.where}"
    if need is not None and need.memory_bytes > memory.free_bytes:
        return wrong(
            "memory",
            f"{what}; {need.what} takes {_gib(need.memory_bytes)} at least",
            "docker run --memory=... (or end other programs, or a smaller replay.capacity_steps)",
        )
    return ok("memory", what)


def check_cpus(machine: Machine) -> Finding:
    quota = machine.cpu_quota
    if quota is not None and quota < machine.cores:
        return warning(
            "processors",
            f"{machine.cores} are visible, but a control group allows the time of {quota:g}: threads are throttled",
            f"docker run --cpus={machine.cores} (or taskset -c 0-{max(0, int(quota) - 1)} python train.py ...)",
        )
    if machine.cores < 2:
        return warning(
            "processors", "only one: the processes of a run take turns", "docker run --cpus=2 (or train with --inline)"
        )
    return ok("processors", f"{machine.cores}")


def check_open_files(machine: Machine, need: Need | None) -> Finding:
    limit = machine.limits.open_files
    if limit is None:
        return ok("open files", "no limit")
    if need is not None and limit < need.open_files:
        what = f"at most {limit} for a process, {need.what} takes {need.open_files}"
        return wrong("open files", what, f"ulimit -n {max(_USUAL_OPEN_FILES, need.open_files)}")
    if limit < _USUAL_OPEN_FILES:
        return warning(
            "open files", f"at most {limit} for a process, less than usual", f"ulimit -n {_USUAL_OPEN_FILES}"
        )
    return ok("open files", f"at most {limit} for a process")


def check_locked_memory(machine: Machine, *, gpus: int) -> Finding:
    limit = machine.limits.locked_bytes
    what = "no limit" if limit is None else f"at most {_mib(limit)}"
    if limit is not None and gpus > 1 and limit < _LOCKED_BYTES:
        what = f"{what}: NCCL may not pin buffers for InfiniBand"
        return warning("locked memory", what, "ulimit -l unlimited (docker run --ulimit memlock=-1)")
    return ok("locked memory", what)


def check_threads(machine: Machine, need: Need | None) -> Finding:
    limits = machine.limits
    if limits.threads is None or limits.is_exempt:
        return ok("processes", "no limit" if limits.threads is None else "no limit for root")
    free = limits.threads - limits.used_threads
    what = f"{free} of {limits.threads} processes and threads of this user are free"
    if need is not None and free < need.threads:
        return wrong("processes", f"{what}, {need.what} takes {need.threads}", "ulimit -u unlimited")
    return ok("processes", what)


def check_file_size(machine: Machine) -> Finding:
    limit = machine.limits.file_bytes
    if limit is not None and limit < _LARGE_FILE_BYTES:
        what = f"at most {_mib(limit)}: checkpoints that are larger fail"
        return warning("file size", what, "ulimit -f unlimited")
    return ok("file size", "no limit" if limit is None else f"at most {_mib(limit)}")


def check_disk(machine: Machine, need: Need | None) -> Finding:
    runs = machine.runs
    if not runs.exists:
        return wrong("disk", f"{runs.path} is no directory", "--run-dir DIR")
    if not runs.writable:
        return wrong(
            "disk", f"{runs.path} cannot be written, and runs go there", f"--run-dir DIR (or chmod u+w {runs.path})"
        )
    free = f"{_gib(runs.free_bytes)} free in {runs.path}"
    if need is not None and runs.free_bytes < need.disk_bytes:
        what = f"{free}, {need.what} writes about {_gib(need.disk_bytes)}"
        return wrong("disk", what, "--run-dir DIR, on a larger disk (df -h names them)")
    # Some file systems have no fixed number of files and report 0 free.
    if 0 < runs.free_files < _FEWEST_FILES:
        return wrong("disk", f"{free}, but only {runs.free_files} more files fit", "--run-dir DIR, elsewhere (df -i)")
    takes = f"; {need.what} writes about {_gib(need.disk_bytes)}" if need is not None else ""
    return ok("disk", f"{free}{takes}")


def check_cache(machine: Machine) -> Finding:
    usable = [folder for folder in machine.caches if folder.writable]
    if not usable:
        what = "numba can keep compiled code nowhere: not in " + " or ".join(
            str(folder.path) for folder in machine.caches
        )
        return wrong("numba's cache", what, "export NUMBA_CACHE_DIR=/tmp/numba-cache")
    return ok("numba's cache", str(usable[0].path))


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"
