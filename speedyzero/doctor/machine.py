"""The machine's state as plain data, so that tests can construct any case. Filled in by `readings.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speedyzero.system.gpus import Gpu
from speedyzero.system.memory_limits import MemoryLimit


@dataclass(frozen=True)
class Torch:
    """error: why it cannot be imported; all else is then unset."""

    version: str = ""
    cuda: str | None = None  # version of the build; None: a CPU build
    nccl: str | None = None
    gpus: tuple[Gpu, ...] = ()
    cuda_error: str = ""  # why it cannot use GPUs
    error: str = ""


@dataclass(frozen=True)
class Nvidia:
    """NVIDIA GPUs according to the system, independent of torch."""

    device_files: int  # /dev/nvidia0, /dev/nvidia1, ...
    driver: str | None
    compute_modes: tuple[str, ...]  # as nvidia-smi calls them; empty without it
    mps_runs: bool


@dataclass(frozen=True)
class Package:
    """A requirement of pyproject.toml."""

    name: str
    wanted: str  # as ">=2.0"; empty: any
    version: str | None  # None: not installed
    fits: bool


@dataclass(frozen=True)
class Folder:
    """A directory that is written to, or its nearest existing parent."""

    path: Path
    exists: bool = True  # false: missing, or not a directory
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
    is_exempt: bool  # root, to whom the thread limit does not apply


@dataclass(frozen=True)
class Left:
    """Objects of dead runs in shared memory, and the number of live runs."""

    objects: int
    size_bytes: int
    live_runs: int


@dataclass(frozen=True)
class Machine:
    platform_error: str  # why rings are unsupported; empty: supported
    packages: tuple[Package, ...]  # Python first
    torch: Torch
    triton: str | None  # version; None: not installed
    triton_error: str  # why it cannot be imported
    build_error: str  # why Triton cannot build its driver module, needed by its first kernel; empty: it can
    nvidia: Nvidia
    rom_errors: Mapping[str, str] | None  # by game: why it cannot be played, empty if it can; None: no emulator
    shm: Folder
    shm_in_memory: bool
    shm_dir: Folder | None  # if set
    left: Left
    memory: MemoryLimit | None
    cores: int  # available to this process
    cpu_quota: float | None  # in cores, by control groups
    limits: Limits
    runs: Folder
    caches: tuple[Folder, ...]  # candidates for numba's cache
    triton_cache: Folder
