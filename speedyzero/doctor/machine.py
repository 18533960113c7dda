"""The machine as the checks see it: plain facts, so that a test can plant any of them.

Read by `readings.py`; `need.py` says what a run takes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speedyzero.system.gpus import Gpu
from speedyzero.system.memory_limits import MemoryLimit


@dataclass(frozen=True)
class Torch:
    """error: why it cannot be imported; then nothing else is known."""

    version: str = ""
    cuda: str | None = None  # that it was built for; None: a CPU build
    nccl: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cuda_error: str = ""  # why it cannot use GPUs
    error: str = ""


@dataclass(frozen=True)
class Nvidia:
    """What the system knows of NVIDIA GPUs, whatever torch can do with them."""

    device_files: int  # /dev/nvidia0 and on
    driver: str | None
    compute_modes: tuple[str, ...]  # as nvidia-smi calls them; empty without it
    mps_runs: bool


@dataclass(frozen=True)
class Package:
    """One that pyproject.toml asks for."""

    name: str
    wanted: str  # as ">=2.0"; empty: any
    version: str | None  # None: not installed
    fits: bool


@dataclass(frozen=True)
class Folder:
    """A directory that is written to, or the nearest one above it that exists."""

    path: Path
    exists: bool = True  # false: not even one above it, or no directory
    writable: bool = True
    mode: int = 0o700
    total_bytes: int = 0
    free_bytes: int = 0
    free_files: int = 0


@dataclass(frozen=True)
class Limits:
    """ulimits; None: no limit."""

    open_files: int | None
    locked_bytes: int | None
    threads: int | None
    file_bytes: int | None
    used_threads: int  # of this user
    is_exempt: bool  # root, whom the limit of threads does not bind


@dataclass(frozen=True)
class Left:
    """What dead runs left in shared memory, and how many runs live."""

    objects: int
    size_bytes: int
    live_runs: int


@dataclass(frozen=True)
class Machine:
    platform_error: str  # why rings do not run here; empty: they do
    packages: tuple[Package, ...]  # Python first
    torch: Torch
    triton: str | None  # version; None: not installed
    triton_error: str  # why it cannot be imported
    build_error: str  # why Triton could not build its driver module, which it does at its first kernel; empty: it could
    nvidia: Nvidia
    rom_errors: Mapping[str, str] | None  # by game: why it cannot be played, empty where it can; None: no emulator
    shm: Folder
    shm_in_memory: bool
    shm_dir: Folder | None  # where it is set
    left: Left
    memory: MemoryLimit | None
    cores: int  # that this process may use
    cpu_quota: float | None  # cores that the control groups allow
    limits: Limits
    runs: Folder
    caches: tuple[Folder, ...]  # any of which numba may keep compiled code in
    triton_cache: Folder
