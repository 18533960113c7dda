"""A machine on which nothing is wrong, and one with GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from speedyzero.doctor.machine import Folder, Left, Limits, Machine, Nvidia, Package, Torch
from speedyzero.doctor.need import Need
from speedyzero.system.gpus import Gpu
from speedyzero.system.memory_limits import MemoryLimit

GIB = 2**30
H100 = Gpu("H100", free_bytes=78 * GIB, total_bytes=80 * GIB, capability=(9, 0))

NEED = Need(
    what="Pong (laptop)",
    game="Pong",
    gpus=0,
    shared_bytes=60 * 2**20,
    always_in_shm_bytes=16 * 2**10,
    memory_bytes=GIB,
    gpu_bytes={},
    processes=4,
    threads=40,
    open_files=48,
    disk_bytes=GIB,
)
GPU_NEED = replace(NEED, gpus=2, gpu_bytes={0: GIB, 1: GIB})


def folder(path: str, **facts) -> Folder:
    return Folder(
        Path(path), **{"mode": 0o755, "total_bytes": 99 * GIB, "free_bytes": 90 * GIB, "free_files": 10**6, **facts}
    )


HEALTHY = Machine(
    platform_error="",
    packages=(Package("Python", ">=3.11,<3.15", "3.12.1", True), Package("torch", ">=2.11,<2.14", "2.12.0", True)),
    torch=Torch(version="2.12.0", cuda=None),
    triton="3.6.0",
    triton_error="",
    build_error="",
    nvidia=Nvidia(device_files=0, driver=None, compute_modes=(), mps_runs=False),
    rom_errors={"Pong": "", "Alien": ""},
    shm=folder("/dev/shm", mode=0o1777, total_bytes=GIB, free_bytes=GIB),
    shm_in_memory=True,
    shm_dir=None,
    left=Left(objects=0, size_bytes=0, live_runs=0),
    memory=MemoryLimit("this machine", 32 * GIB, 30 * GIB),
    cores=8,
    cpu_quota=None,
    limits=Limits(open_files=1024, locked_bytes=None, threads=None, file_bytes=None, used_threads=90, is_exempt=False),
    runs=folder("/home/me/runs"),
    caches=(folder("/home/me/kernels"),),
    triton_cache=folder("/home/me/.triton"),
)
WITH_GPUS = replace(
    HEALTHY,
    torch=Torch(version="2.12.0+cu130", cuda="13.0", nccl="2.29.7", gpus=(H100, H100)),
    nvidia=Nvidia(device_files=2, driver="580.65.06", compute_modes=("Default", "Default"), mps_runs=False),
)
