"""The visible GPUs, read by a short-lived child process, so that the caller creates no CUDA context.

A context in the supervisor would take 0.5 GB on every GPU for the whole run, and a process with a context cannot be
forked. The child runs this file; it calls the driver directly, because importing torch takes seconds, and numbers GPUs
as CUDA does (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER).
"""

import ctypes
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TIMEOUT_S = 60.0  # the driver may have to wake eight GPUs
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_NAME_BYTES = 256
MPS_RISK = (
    "an MPS daemon runs: when a run kills a hanging process, GPU work of other processes may fail; page-locked memory "
    "takes space in /dev/shm"
)


@dataclass(frozen=True)
class Gpu:
    name: str
    free_bytes: int
    total_bytes: int
    capability: tuple[int, int]


def read_gpus() -> tuple[Gpu, ...]:
    """The GPUs' current state. Raises ValueError if the driver cannot be read."""
    command = [sys.executable, "-I", "-S", __file__]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"the NVIDIA driver has not answered in {_TIMEOUT_S:g} s: see nvidia-smi") from error
    if child.returncode:
        last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise ValueError(f"the GPUs cannot be read: {last[0]}: see nvidia-smi")
    return tuple(Gpu(name, free, total, (major, minor)) for name, free, total, major, minor in json.loads(child.stdout))


@cache
def known_gpus() -> tuple[Gpu, ...]:
    """The GPUs as first read, for properties that do not change."""
    return read_gpus()


def mps_runs() -> bool:
    """Whether a daemon of CUDA's multi-process service (MPS) runs."""
    for entry in Path("/proc").glob("[0-9]*/comm"):
        try:
            if entry.read_text().startswith("nvidia-cuda-mps"):
                return True
        except OSError:
            continue  # the process has ended
    return False


def _ask_the_driver() -> list[tuple[str, int, int, int, int]]:
    driver = ctypes.CDLL("libcuda.so.1")

    def call(function: str, *arguments: object) -> None:
        code = driver[function](*arguments)
        if code:
            raise OSError(f"{function} ended with CUDA error {code}")

    def number(function: str, kind: type, *arguments: object):
        found = kind()
        call(function, ctypes.byref(found), *arguments)
        return found

    call("cuInit", 0)
    gpus = []
    for index in range(number("cuDeviceGetCount", ctypes.c_int).value):
        device = number("cuDeviceGet", ctypes.c_int, index)
        name = ctypes.create_string_buffer(_NAME_BYTES)
        call("cuDeviceGetName", name, _NAME_BYTES, device)
        major, minor = (number("cuDeviceGetAttribute", ctypes.c_int, which, device).value for which in (_MAJOR, _MINOR))
        call("cuCtxSetCurrent", number("cuDevicePrimaryCtxRetain", ctypes.c_void_p, device))
        total = ctypes.c_size_t()
        free = number("cuMemGetInfo_v2", ctypes.c_size_t, ctypes.byref(total))
        call("cuDevicePrimaryCtxRelease_v2", device)
        gpus.append((name.value.decode(errors="replace"), free.value, total.value, major, minor))
    return gpus


if __name__ == "__main__":
    print(json.dumps(_ask_the_driver()))
