"""The machine as it is, and its ceilings: what a copy and a matrix product reach here, and what a launch costs.

Every later figure is to be read beside these. Nothing of the card is changed.
"""

import os
import platform
import shutil
import subprocess
from typing import Any

import torch

from benchmarks.common import hardware, version
from benchmarks.gpu import forked_probe
from benchmarks.gpu.context import Context
from benchmarks.gpu.timing import Times, time_one
from speedyzero.runtime.fork_server import ForkServer, NotStarted
from speedyzero.system.gpus import mps_runs

PACKAGES = "torch triton numba numpy ale-py gymnasium posix-ipc omegaconf safetensors tensorboard pytest".split()


def run(context: Context) -> dict[str, Any]:
    context.keep(
        machine=machine(),
        gpu=gpu_facts() if context.device.type == "cuda" else {},
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        mps_runs=mps_runs(),
    )
    copied = copy_ceiling(context)
    context.keep(copy=copied)
    product = matrix_ceiling(context)
    context.keep(matrix=product)
    context.keep(launch=launch_cost(context))
    context.keep(upload=upload_ceiling(context))
    forked = use_by_the_forked(context.device)
    how = "uses" if forked["works"] else "CANNOT USE"
    seen = (
        f"copy {copied['gb_per_s']:.0f} GB/s, product {product['tflop_per_s']:.1f} TFLOP/s; a forked process {how} it"
    )
    context.keep(forked=forked, seen=seen)
    return context.results


def use_by_the_forked(device: torch.device) -> dict[str, Any]:
    """Whether a run's processes, forked from a server that has imported what they need, can use the device."""
    with ForkServer(["speedyzero.supervisor.preload"]) as server:
        try:
            process = server.start(forked_probe.use, (str(device),))
            process.join()
            exit_code, why = process.exit_code, "a traceback above" if process.exit_code else ""
        except NotStarted as error:  # such as: a package of the run's is missing
            exit_code, why = None, str(error)
    works = exit_code == 0
    print(f"a forked process {'uses' if works else 'CANNOT USE'} {device} {why}".rstrip())
    return {"works": works, "why": why}


def machine() -> dict[str, Any]:
    shm = os.statvfs("/dev/shm")
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        **hardware(),
        "kernel": platform.release(),
        "memory_gb": memory_bytes / 1e9,
        "shm_total_gb": shm.f_blocks * shm.f_frsize / 1e9,
        "shm_free_gb": shm.f_bavail * shm.f_frsize / 1e9,
    }


def gpu_facts() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "count": torch.cuda.device_count(),
        "memory_gb": properties.total_memory / 1e9,
        "multiprocessors": properties.multi_processor_count,
        "l2_mb": getattr(properties, "L2_cache_size", 0) / 1e6,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": _query("driver_version"),
        "clocks_mhz": _query("clocks.sm,clocks.mem,clocks.max.sm"),
        "power_w": _query("power.draw,power.limit"),
        "compute_mode": _query("compute_mode"),
        "used_memory_mib": _query("memory.used"),
    }


def _query(fields: str) -> str:
    if shutil.which("nvidia-smi") is None:
        return "no nvidia-smi"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    return (answer.stdout or answer.stderr).strip()


def copy_ceiling(context: Context) -> dict[str, Any]:
    """Device to device, bytes read and bytes written."""
    size_bytes, sets = context.size(2 << 30, 1 << 24), 2
    pairs = [[_random_bytes(size_bytes, context.device) for _ in range(2)] for _ in range(sets)]
    times = time_one(
        lambda i: pairs[i % sets][0].copy_(pairs[i % sets][1]), context.device, seconds=context.size(1.0, 0.05)
    )
    return {"gb_per_s": times.per_s(2 * size_bytes) / 1e9, "bytes": size_bytes, "times": times}


def matrix_ceiling(context: Context) -> dict[str, Any]:
    """A large product of random bf16 matrices; zeros would run faster."""
    size, sets = context.size(8192, 128), 2
    pairs = [[torch.randn(size, size, device=context.device).bfloat16() for _ in range(2)] for _ in range(sets)]
    times = time_one(lambda i: torch.mm(*pairs[i % sets]), context.device, seconds=context.size(2.0, 0.05))
    return {"tflop_per_s": times.per_s(2.0 * size**3) / 1e12, "size": size, "times": times}


def launch_cost(context: Context) -> dict[str, Times]:
    """A small operation launched from Python, and the same inside a captured graph, each 100 times in a row."""
    x = torch.zeros(32, device=context.device)

    def eager(_: int) -> None:
        for _ in range(100):
            x.add_(1.0)

    found = {"eager_100": time_one(eager, context.device, seconds=0.3)}
    if context.device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            eager(0)
        found["graph_100"] = time_one(lambda _: graph.replay(), context.device, seconds=0.3)
    return found


def upload_ceiling(context: Context) -> dict[str, Any]:
    """Pinned host memory to the device."""
    size_bytes = context.size(1 << 28, 1 << 20)
    on_host = torch.empty(size_bytes, dtype=torch.uint8, pin_memory=context.device.type == "cuda")
    on_device = torch.empty(size_bytes, dtype=torch.uint8, device=context.device)
    times = time_one(lambda _: on_device.copy_(on_host, non_blocking=True), context.device, seconds=0.3)
    return {"gb_per_s": times.per_s(size_bytes) / 1e9, "bytes": size_bytes, "times": times}


def _random_bytes(count: int, device: torch.device) -> torch.Tensor:
    return torch.randint(256, (count,), dtype=torch.uint8, device=device)
