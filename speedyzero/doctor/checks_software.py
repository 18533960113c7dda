"""Checks of libraries, GPUs and their driver, and games. Pure functions of a `Machine` and a `Need`."""

from __future__ import annotations

from collections.abc import Iterator

from speedyzero.doctor.finding import Finding, ok, warning, wrong
from speedyzero.doctor.machine import Machine
from speedyzero.doctor.need import Need
from speedyzero.system.gpus import MPS_RISK

INSTALL = "pip install -c constraints.txt -e ."
# The oldest driver branch that runs programs of a CUDA major version (NVIDIA, "CUDA Compatibility").
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
_BFLOAT16_CAPABILITY = (8, 0)


def software_findings(machine: Machine, need: Need | None, *, gpus: int, game: str) -> Iterator[Finding]:
    """gpus: number the run is to use. game: by its usual name."""
    used = min(gpus, len(machine.torch.gpus))  # check_gpus alone reports missing GPUs
    yield check_platform(machine)
    yield check_packages(machine)
    yield check_torch(machine)
    yield check_driver(machine)
    yield check_gpus(machine, need, gpus=gpus)
    yield check_nccl(machine, gpus=used)
    yield check_triton(machine, gpus=used)
    yield check_mps(machine, gpus=used)
    yield check_roms(machine, game=game)


def check_platform(machine: Machine) -> Finding:
    if machine.platform_error:
        return wrong("platform", machine.platform_error, "use a Linux machine with an x86-64 processor")
    return ok("platform", "Linux x86-64")


def check_packages(machine: Machine) -> Finding:
    bad = [package for package in machine.packages if not package.fits]
    if not bad:
        return ok("packages", f"{len(machine.packages)} as pyproject.toml asks")
    what = "; ".join(
        f"{package.name} {package.version or 'is not installed'}, wanted {package.wanted or 'any'}" for package in bad
    )
    if bad[0].name == "Python":
        return wrong("packages", what, "rm -r .venv; make train PYTHON=python3.12")
    if bad[0].name == "posix-ipc":  # which newer Pythons build from source
        return wrong("packages", what, f"apt-get install gcc python3-dev && {INSTALL}")
    return wrong("packages", what, INSTALL)


def check_torch(machine: Machine) -> Finding:
    torch = machine.torch
    if torch.error:
        return wrong("torch", f"cannot be imported: {torch.error}", f"{INSTALL} --force-reinstall torch")
    build = f"for CUDA {torch.cuda}" if torch.cuda else "for CPUs"
    if machine.nvidia.device_files and torch.cuda is None:
        return wrong(
            "torch",
            f"{torch.version} is a build for CPUs, but there are {machine.nvidia.device_files} NVIDIA GPUs",
            "pip uninstall torch && pip install -c constraints.txt torch (or train with --gpus 0)",
        )
    return ok("torch", f"{torch.version}, {build}")


def check_driver(machine: Machine) -> Finding:
    nvidia, cuda = machine.nvidia, machine.torch.cuda
    if not nvidia.device_files:
        if nvidia.driver is not None:
            return warning(
                "driver",
                f"NVIDIA {nvidia.driver}, but no /dev/nvidia0 is visible here",
                "docker run --gpus all ... (or, outside of containers, nvidia-modprobe -u -c=0)",
            )
        return ok("driver", "no NVIDIA GPU here")
    if nvidia.driver is None:
        return warning("driver", "its version cannot be read, /proc/driver/nvidia is missing", "nvidia-smi")
    major = int(nvidia.driver.split(".")[0])
    oldest = _OLDEST_DRIVER.get(int(cuda.split(".")[0])) if cuda else None
    if oldest is not None and major < oldest:
        return wrong(
            "driver",
            f"NVIDIA {nvidia.driver} is too old for torch's CUDA {cuda}, which needs {oldest} or newer",
            f"apt-get install nvidia-driver-{oldest} (then reboot), or a torch for an older CUDA",
        )
    return ok("driver", f"NVIDIA {nvidia.driver}")


def check_gpus(machine: Machine, need: Need | None, *, gpus: int) -> Finding:
    torch = machine.torch
    if torch.cuda_error and machine.nvidia.device_files:
        return wrong("GPUs", f"torch cannot use them: {torch.cuda_error}", "nvidia-smi (or train with --gpus 0)")
    if gpus > len(torch.gpus):
        return wrong(
            "GPUs",
            f"{gpus} are asked for, torch sees {len(torch.gpus)}",
            f"--gpus {len(torch.gpus)} (CUDA_VISIBLE_DEVICES hides others; docker run --gpus all)",
        )
    if not torch.gpus:
        return ok("GPUs", "none: the run uses the CPU")
    for number, needed in (need.gpu_bytes if need is not None else {}).items():
        if needed > torch.gpus[number].free_bytes:
            return wrong(
                "GPUs",
                f"GPU {number} has {_gib(torch.gpus[number].free_bytes)} free, the run takes {_gib(needed)} at least",
                "nvidia-smi (names what else uses it: end that, or set CUDA_VISIBLE_DEVICES)",
            )
    old = [gpu.name for gpu in torch.gpus if gpu.capability < _BFLOAT16_CAPABILITY]
    what = ", ".join(f"{gpu.name} ({_gib(gpu.free_bytes)} of {_gib(gpu.total_bytes)} free)" for gpu in torch.gpus)
    if old:
        return warning("GPUs", f"{what}: no bfloat16 in hardware on {old[0]}, so slow", "use an Ampere GPU or newer")
    return ok("GPUs", what)


def check_nccl(machine: Machine, *, gpus: int) -> Finding:
    torch = machine.torch
    if torch.nccl is not None:
        return ok("NCCL", torch.nccl)
    if gpus > 1:
        return wrong("NCCL", f"this torch has none, and {gpus} GPUs train together over it", f"{INSTALL} torch")
    return ok("NCCL", "none, and none is needed")


def check_triton(machine: Machine, *, gpus: int) -> Finding:
    if not gpus:
        return ok("Triton", f"{machine.triton or 'none'}, and none is needed")
    if machine.triton is None or machine.triton_error:
        why = f"{machine.triton} cannot be imported: {machine.triton_error}" if machine.triton else "is not installed"
        return wrong("Triton", why, INSTALL)
    if machine.build_error:
        what = f"{machine.triton} cannot build its driver module: {machine.build_error}"
        return wrong("Triton", what, f"apt-get install {_build_package(machine)}")
    if not machine.triton_cache.writable:
        return wrong(
            "Triton",
            f"{machine.triton} cannot write its cache in {machine.triton_cache.path}",
            "export TRITON_CACHE_DIR=/tmp/triton-cache",
        )
    return ok("Triton", machine.triton)


def _build_package(machine: Machine) -> str:
    """The Debian package that is missing."""
    if "Python.h" in machine.build_error:
        python = next((package.version for package in machine.packages if package.name == "Python"), None) or "3"
        return f"python{'.'.join(python.split('.')[:2])}-dev (Fedora: python3-devel)"
    return "gcc libc6-dev"


def check_mps(machine: Machine, *, gpus: int) -> Finding:
    """Processes of a run share a GPU and may be killed when they hang, which needs default mode without MPS."""
    nvidia = machine.nvidia
    if not gpus:
        return ok("MPS", "none is needed")
    if nvidia.mps_runs:
        return warning("MPS", MPS_RISK, "nvidia-smi -c DEFAULT; echo quit | nvidia-cuda-mps-control")
    for mode in nvidia.compute_modes:
        if mode.startswith("Exclusive"):
            what = "a GPU is in exclusive mode: only one process of the run could use it"
            return wrong("MPS", what, "nvidia-smi -c DEFAULT")
        if mode == "Prohibited":
            return wrong("MPS", "a GPU is in prohibited mode: no process may use it", "nvidia-smi -c DEFAULT")
    return ok("MPS", "does not run: processes that share a GPU take turns")


def check_roms(machine: Machine, *, game: str) -> Finding:
    reinstall = "pip install -c constraints.txt --force-reinstall --no-deps ale-py"
    if machine.rom_errors is None:
        return wrong("ROMs", "ale-py cannot be imported", INSTALL)
    bad = {name: error for name, error in machine.rom_errors.items() if error}
    if game in bad:
        return wrong("ROMs", bad[game], reinstall)
    if bad:
        name, error = next(iter(bad.items()))
        return warning("ROMs", f"{len(bad)} of {len(machine.rom_errors)} games, as {name}: {error}", reinstall)
    return ok("ROMs", f"{len(machine.rom_errors)} games")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
