"""Problems that can be planted in the facts of a machine: what is changed, and what must be found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from speedyzero.doctor.finding import WARNING, WRONG
from speedyzero.doctor.machine import Left, Nvidia, Package, Torch
from speedyzero.system.memory_limits import MemoryLimit
from tests.doctor.machines import GIB, H100, HEALTHY, WITH_GPUS, folder

MIB = 2**20


def limits(**changed: Any) -> dict[str, Any]:
    return {"limits": replace(HEALTHY.limits, **changed)}


def torch(**changed: Any) -> dict[str, Any]:
    return {"torch": replace(WITH_GPUS.torch, **changed)}


def nvidia(**changed: Any) -> dict[str, Any]:
    return {"nvidia": replace(WITH_GPUS.nvidia, **changed)}


def package(*facts: Any) -> dict[str, Any]:
    return {"packages": (Package(*facts, False),)}


# name of the check, what is changed of the healthy machine, status, words of the finding, words of what mends it
ON_A_CPU: list[tuple] = [
    ("platform", {"platform_error": "this is Linux aarch64"}, WRONG, ["aarch64"], "x86-64"),
    ("packages", package("torch", ">=2.11,<2.14", "2.4.0"), WRONG, ["torch 2.4.0", ">=2.11,<2.14"], "pip install"),
    ("packages", package("zstandard", ">=0.23", None), WRONG, ["zstandard is not installed"], "pip install"),
    ("packages", package("posix-ipc", ">=1.2", None), WRONG, ["posix-ipc is not installed"], "python3-dev"),
    ("packages", package("Python", ">=3.11,<3.15", "3.15.0"), WRONG, ["Python 3.15.0"], "PYTHON=python3.12"),
    (
        "torch",
        {"torch": Torch(error="OSError: libcudart.so.13: cannot open")},
        WRONG,
        ["libcudart.so.13"],
        "pip install",
    ),
    ("driver", {"nvidia": Nvidia(0, "580.1", (), False)}, WARNING, ["no /dev/nvidia0"], "--gpus all"),
    ("ROMs", {"rom_errors": {"Pong": "its ROM can't be read: gone", "Alien": ""}}, WRONG, ["gone"], "ale-py"),
    ("ROMs", {"rom_errors": {"Pong": "", "Alien": "damaged"}}, WARNING, ["1 of 2 games", "Alien", "damaged"], "ale-py"),
    ("ROMs", {"rom_errors": None}, WRONG, ["cannot be imported"], "pip install"),
    ("shared memory", {"shm": folder("/dev/shm", exists=False, writable=False)}, WRONG, ["missing"], "mount -t tmpfs"),
    ("shared memory", {"shm": folder("/dev/shm", writable=False)}, WRONG, ["mode 755", "written"], "chmod 1777"),
    (
        "shared memory",
        {"shm": folder("/dev/shm", mode=0o1777, total_bytes=64 * MIB, free_bytes=44 * MIB)},
        WRONG,
        ["44.0 MiB free", "takes 60.0 MiB"],
        "size=81m",
    ),
    ("shared memory", {"shm": folder("/dev/shm", mode=0o777)}, WARNING, ["mode 777"], "chmod +t"),
    ("shared memory", {"shm_in_memory": False}, WARNING, ["on a disk"], "mount -t tmpfs"),
    (
        "shared memory",
        {"shm_dir": folder("/data", free_bytes=MIB)},
        WRONG,
        ["/data has 1.0 MiB", "60.0 MiB"],
        "shm_dir=",
    ),
    ("shared memory", {"shm_dir": folder("/data", writable=False)}, WRONG, ["/data cannot be written"], "mkdir -m 700"),
    ("old segments", {"left": Left(3, 5 * MIB, 1)}, WARNING, ["3 objects", "5.0 MiB", "1 of runs"], "sweep_dead_runs"),
    (
        "memory",
        {"memory": MemoryLimit("control group /x", 2 * GIB, GIB // 2)},
        WRONG,
        ["0.5 GiB of 2.0 GiB", "control group /x", "1.0 GiB at least"],
        "--memory=",
    ),
    ("memory", {"memory": None}, WARNING, ["does not say"], "free -h"),
    ("processors", {"cpu_quota": 1.5}, WARNING, ["8 are visible", "1.5"], "--cpus=8"),
    ("processors", {"cores": 1}, WARNING, ["only one"], "--inline"),
    ("open files", limits(open_files=40), WRONG, ["40", "takes 48"], "ulimit -n 1024"),
    ("open files", limits(open_files=256), WARNING, ["256"], "ulimit -n 1024"),
    ("processes", limits(threads=100), WRONG, ["10 of 100", "takes 40"], "ulimit -u"),
    ("file size", limits(file_bytes=MIB), WARNING, ["1.0 MiB", "checkpoints"], "ulimit -f"),
    (
        "disk",
        {"runs": folder("/home/me/runs", writable=False)},
        WRONG,
        ["/home/me/runs cannot be written"],
        "--run-dir",
    ),
    ("disk", {"runs": folder("/home/me/runs", exists=False)}, WRONG, ["no directory"], "--run-dir"),
    ("disk", {"runs": folder("/home/me/runs", free_bytes=MIB)}, WRONG, ["0.0 GiB free", "1.0 GiB"], "df -h"),
    ("disk", {"runs": folder("/home/me/runs", free_files=12)}, WRONG, ["12 more files"], "df -i"),
    (
        "numba's cache",
        {"caches": (folder("/a", writable=False), folder("/b", writable=False))},
        WRONG,
        ["/a or /b"],
        "NUMBA_CACHE_DIR",
    ),
]
ON_GPUS: list[tuple] = [
    ("torch", torch(version="2.12.0+cpu", cuda=None), WRONG, ["for CPUs", "2 NVIDIA GPUs"], "pip uninstall torch"),
    ("driver", nvidia(driver="550.90"), WRONG, ["550.90 is too old", "580"], "nvidia-driver-580"),
    ("driver", nvidia(driver=None), WARNING, ["cannot be read"], "nvidia-smi"),
    ("GPUs", torch(cuda_error="CUDA error: unknown"), WRONG, ["CUDA error: unknown"], "nvidia-smi"),
    ("GPUs", torch(gpus=(H100,)), WRONG, ["2 are asked for", "sees 1"], "--gpus 1"),
    (
        "GPUs",
        torch(gpus=(H100, replace(H100, free_bytes=MIB))),
        WRONG,
        ["GPU 1 has 0.0 GiB free", "1.0 GiB"],
        "nvidia-smi",
    ),
    (
        "GPUs",
        torch(gpus=(H100, replace(H100, name="V100", capability=(7, 0)))),
        WARNING,
        ["bfloat16", "V100"],
        "Ampere",
    ),
    ("NCCL", torch(nccl=None), WRONG, ["2 GPUs train together"], "pip install"),
    ("Triton", {"triton": None}, WRONG, ["not installed"], "pip install"),
    ("Triton", {"triton_error": "ImportError: libtriton.so"}, WRONG, ["libtriton.so"], "pip install"),
    ("Triton", {"build_error": "no C compiler is found"}, WRONG, ["no C compiler"], "gcc"),
    ("Triton", {"build_error": "m.c:1: fatal error: Python.h: No such file"}, WRONG, ["Python.h"], "python3.12-dev"),
    ("Triton", {"triton_cache": folder("/ro", writable=False)}, WRONG, ["/ro"], "TRITON_CACHE_DIR"),
    ("MPS", nvidia(compute_modes=("Exclusive_Process", "Default")), WRONG, ["exclusive mode"], "-c DEFAULT"),
    ("MPS", nvidia(compute_modes=("Prohibited", "Default")), WRONG, ["prohibited"], "-c DEFAULT"),
    ("MPS", nvidia(mps_runs=True), WARNING, ["undefined", "killed", "/dev/shm"], "echo quit"),
    (
        "shared memory",
        {"shm": folder("/dev/shm", mode=0o1777, total_bytes=1000 * MIB, free_bytes=1000 * MIB)},
        WARNING,
        ["1,000.0 MiB", "NCCL"],
        "--shm-size=1g",
    ),
    ("locked memory", limits(locked_bytes=8 * MIB), WARNING, ["8.0 MiB", "NCCL"], "memlock=-1"),
]
