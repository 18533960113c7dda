"""Reads the machine into a `Machine`. Changes nothing; reading errors are recorded, not raised."""

from __future__ import annotations

import importlib
import os
import re
import resource
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from speedyzero.doctor.machine import Folder, Left, Limits, Machine, Nvidia, Torch
from speedyzero.doctor.packages import read_packages
from speedyzero.observe.system import version_of
from speedyzero.shm.run import SHM_MOUNT, check_platform
from speedyzero.shm.sweep import sweep_dead_runs
from speedyzero.system import numba_cache
from speedyzero.system.gpus import Gpu, mps_runs
from speedyzero.system.memory_limits import PROC, is_in_memory, read_mounts, tightest_memory_limit

NO_COMPILER = "no C compiler is found"
_PATIENCE_S = 10.0  # nvidia-smi hangs if a GPU has fallen off the bus


def read_machine(*, torch: Torch, run_dir: str, shm_dir: str) -> Machine:
    """run_dir, shm_dir: as in the config; empty if not set."""
    triton_error = _import_error("triton") if version_of("triton") else ""
    rom_errors = _read_roms()
    return Machine(
        platform_error=_platform_error(),
        packages=read_packages(),
        torch=torch,
        triton=version_of("triton"),
        triton_error=triton_error,
        build_error=read_build_error(),
        nvidia=_read_nvidia(),
        rom_errors=rom_errors,
        shm=read_folder(SHM_MOUNT),
        shm_in_memory=is_in_memory(SHM_MOUNT),
        shm_dir=read_folder(Path(shm_dir)) if shm_dir else None,
        left=_read_left(shm_dir),
        memory=tightest_memory_limit(),
        cores=len(os.sched_getaffinity(0)),
        cpu_quota=min(read_cpu_quotas(), default=None),
        limits=_read_limits(),
        runs=read_folder(_nearest(Path(run_dir or "runs"))),
        caches=tuple(read_folder(_nearest(path)) for path in numba_cache.candidates()),
        triton_cache=read_folder(_nearest(_triton_cache())),
    )


def read_torch() -> Torch:
    """Imports torch and initialises every GPU that it can use."""
    error = _import_error("torch")
    if error:
        return Torch(error=error)
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # _cuda_error below reads the reason
        usable = torch.cuda.is_available()
    version, cuda = torch.__version__, torch.version.cuda
    if not usable:
        return Torch(version=version, cuda=cuda, cuda_error=_cuda_error() if cuda else "")
    gpus = []
    for i in range(torch.cuda.device_count()):
        properties, (free_bytes, total_bytes) = torch.cuda.get_device_properties(i), torch.cuda.mem_get_info(i)
        gpus.append(Gpu(properties.name, free_bytes, total_bytes, (properties.major, properties.minor)))
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    return Torch(version=version, cuda=cuda, nccl=nccl, gpus=tuple(gpus))


def read_build_error() -> str:
    """Why an extension module cannot be compiled, as Triton compiles its driver module; empty if it can."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")  # as triton/runtime/build.py
    if compiler is None:
        return NO_COMPILER
    include = sysconfig.get_paths(scheme="posix_prefix")["include"]
    with tempfile.TemporaryDirectory() as scratch:
        source = f"{scratch}/module.c"
        Path(source).write_text("#include <Python.h>\nint found(void) { return PY_VERSION_HEX != 0; }\n")
        command = [compiler, source, "-shared", "-fPIC", f"-I{include}", "-o", f"{scratch}/module.so"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{compiler} cannot be run: {error}"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    return " ".join((errors or done.stderr.splitlines() or [f"{compiler} ended with {done.returncode}"])[0].split())


def read_folder(path: Path) -> Folder:
    if not path.is_dir():
        return Folder(path, exists=False, writable=False)
    space = os.statvfs(path)
    return Folder(
        path,
        writable=os.access(path, os.W_OK | os.X_OK),
        mode=path.stat().st_mode & 0o7777,
        total_bytes=space.f_blocks * space.f_frsize,
        free_bytes=space.f_bavail * space.f_frsize,
        free_files=space.f_favail,
    )


def read_cpu_quotas(*, proc: Path = PROC) -> Iterator[float]:
    """The limit, in cores, of each limited control group of this process, v1 and v2."""
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        is_v2 = not controllers
        if not is_v2 and "cpu" not in controllers.split(","):
            continue
        for mount in read_mounts(proc=proc):
            if mount.kind == ("cgroup2" if is_v2 else "cgroup") and (is_v2 or "cpu" in mount.options):
                inside = PurePosixPath(group)
                relative = inside.relative_to(mount.root) if inside.is_relative_to(mount.root) else PurePosixPath()
                for folder in (relative, *relative.parents):
                    yield from _quota(mount.point / folder, is_v2=is_v2)


def _quota(folder: Path, *, is_v2: bool) -> Iterator[float]:
    names = ["cpu.max"] if is_v2 else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    if all((folder / name).is_file() for name in names):
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)


def _platform_error() -> str:
    try:
        check_platform()
    except ValueError as error:
        return str(error)
    return ""


def _import_error(name: str) -> str:
    """Why a package cannot be imported, in one line; empty if it can. A broken library may raise anything."""
    try:
        importlib.import_module(name)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def _cuda_error() -> str:
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split())
    return ""


def _read_nvidia() -> Nvidia:
    module = Path("/proc/driver/nvidia/version")
    found = re.search(r"Kernel Module\D*([\d.]+)", module.read_text()) if module.is_file() else None
    return Nvidia(
        device_files=len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()]),
        driver=found[1] if found else None,
        compute_modes=_compute_modes(),
        mps_runs=mps_runs(),
    )


def _compute_modes() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=compute_mode", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()


def _read_roms() -> Mapping[str, str] | None:
    """Why each game of the Atari 100k benchmark cannot be played, empty if it can; None without ale-py."""
    if _import_error("ale_py"):
        return None
    from speedyzero.env.atari_roms import rom_path
    from speedyzero.evaluate.human_normalised import benchmark_games

    errors = {}
    for game in benchmark_games():
        try:
            rom_path(game)
            errors[game] = ""
        except ValueError as error:
            errors[game] = str(error)
    return errors


def _read_left(shm_dir: str) -> Left:
    directory = Path(shm_dir) if shm_dir else None
    if not SHM_MOUNT.is_dir() or (directory is not None and not directory.is_dir()):
        return Left(0, 0, 0)
    report = sweep_dead_runs(directory, remove=False)
    sizes = [Path(path).lstat().st_size for path in report.removed if os.path.lexists(path)]
    return Left(objects=len(sizes), size_bytes=sum(sizes), live_runs=len(report.live_runs))


def _read_limits() -> Limits:
    def soft(kind: int) -> int | None:
        limit = resource.getrlimit(kind)[0]
        return None if limit == resource.RLIM_INFINITY else limit

    uid, threads = os.getuid(), 0
    for process in PROC.glob("[0-9]*"):
        try:
            if process.stat().st_uid == uid:
                threads += len(os.listdir(process / "task"))
        except OSError:
            continue  # the process has ended
    return Limits(
        open_files=soft(resource.RLIMIT_NOFILE),
        locked_bytes=soft(resource.RLIMIT_MEMLOCK),
        threads=soft(resource.RLIMIT_NPROC),
        file_bytes=soft(resource.RLIMIT_FSIZE),
        used_threads=threads,
        is_exempt=os.geteuid() == 0,
    )


def _nearest(path: Path) -> Path:
    """The path itself or its nearest existing parent."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _triton_cache() -> Path:
    home = Path(os.environ.get("TRITON_HOME") or os.path.expanduser("~")) / ".triton" / "cache"
    return Path(os.environ.get("TRITON_CACHE_DIR", home))
