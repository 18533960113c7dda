"""Checks of packages, torch, GPUs, Triton and games."""

import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from speedyzero.doctor import readings
from speedyzero.doctor.finding import Finding, amount, ok, warning, wrong
from speedyzero.doctor.readings import Torch
from speedyzero.system import gpus as gpu_system
from speedyzero.system.gpus import MPS_RISK

INSTALL = "pip install -c constraints.txt -e ."
_BFLOAT16_CAPABILITY = (8, 0)


def software_findings(
    torch: Torch, *, gpus: int, rom_errors: Mapping[str, str] | None, refusal: str
) -> Iterator[Finding]:
    """gpus: number the run is to use. refusal: why the run would be refused; empty if it would not."""
    yield check_packages()
    yield check_torch(torch)
    yield check_gpus(torch, gpus=gpus)
    if gpus and torch.gpus:
        yield check_triton()
        yield check_mps()
    yield check_roms(rom_errors, refusal)


def check_packages() -> Finding:
    """A conflict of SpeedyZero's own requirements is wrong, one between other packages a warning."""
    conflicts, error = readings.read_conflicts()
    if error:
        return warning("packages", f"pip check cannot be run: {error}", "uv pip check, or python -m ensurepip")
    ours = [line for line in conflicts if line.startswith("speedyzero ")]
    if ours:
        builds = any("posix-ipc" in line for line in ours)  # which newer Pythons build from source
        return wrong("packages", " ".join(ours), f"{'apt-get install gcc python3-dev && ' if builds else ''}{INSTALL}")
    if conflicts:
        return warning("packages", " ".join(conflicts), INSTALL)
    return ok("packages", "pip check finds no conflicts")


def check_torch(torch: Torch) -> Finding:
    if torch.error:
        return wrong("torch", f"cannot be imported: {torch.error}", f"{INSTALL} --force-reinstall torch")
    files = readings.device_files()
    if files and torch.cuda is None:
        what = f"{torch.version} is a build for CPUs, but there are {files} NVIDIA GPUs"
        fix = "pip uninstall torch && pip install -c constraints.txt torch (or train with --gpus 0)"
        return wrong("torch", what, fix)
    return ok("torch", f"{torch.version}, for {f'CUDA {torch.cuda}' if torch.cuda else 'CPUs'}")


def check_gpus(torch: Torch, *, gpus: int) -> Finding:
    files = readings.device_files()
    if torch.cuda_error and files:
        return wrong("GPUs", f"torch cannot use them: {torch.cuda_error}", "nvidia-smi (or train with --gpus 0)")
    if gpus > len(torch.gpus):
        what = f"{gpus} are asked for, torch sees {len(torch.gpus)}"
        fix = f"--gpus {len(torch.gpus)} (CUDA_VISIBLE_DEVICES hides others; docker run --gpus all)"
        return wrong("GPUs", what, fix)
    if not torch.gpus and not files and readings.NVIDIA_DRIVER.is_file():
        fix = "docker run --gpus all ... (or, outside of containers, nvidia-modprobe -u -c=0)"
        return warning("GPUs", "the NVIDIA driver is loaded, but no /dev/nvidia0 is visible here", fix)
    if not torch.gpus:
        return ok("GPUs", "none: the run uses the CPU")
    what = ", ".join(f"{gpu.name} ({amount(gpu.free_bytes)} of {amount(gpu.total_bytes)} free)" for gpu in torch.gpus)
    old = [gpu.name for gpu in torch.gpus if gpu.capability < _BFLOAT16_CAPABILITY]
    if old:
        return warning("GPUs", f"{what}: no bfloat16 in hardware on {old[0]}, so slow", "use an Ampere GPU or newer")
    return ok("GPUs", what)


def check_triton() -> Finding:
    if error := readings.import_error("triton"):
        return wrong("Triton", f"cannot be imported: {error}", INSTALL)
    if error := readings.read_build_error():
        python = ".".join(platform.python_version_tuple()[:2])
        needed = f"python{python}-dev (Fedora: python3-devel)" if "Python.h" in error else "gcc libc6-dev"
        return wrong("Triton", f"cannot build its driver module: {error}", f"apt-get install {needed}")
    home = os.environ.get("TRITON_HOME") or os.path.expanduser("~")
    cache = Path(os.environ.get("TRITON_CACHE_DIR") or f"{home}/.triton/cache")
    if not readings.read_folder(cache, or_parent=True).writable:
        return wrong("Triton", f"cannot write its cache in {cache}", "export TRITON_CACHE_DIR=/tmp/triton-cache")
    return ok("Triton", "compiles")


def check_mps() -> Finding:
    """Processes of a run share a GPU and may be killed when they hang, which needs default mode without MPS."""
    if gpu_system.mps_runs():
        return warning("MPS", MPS_RISK, "nvidia-smi -c DEFAULT; echo quit | nvidia-cuda-mps-control")
    for mode in readings.compute_modes():
        if mode.startswith(("Exclusive", "Prohibited")):
            what = f"a GPU is in compute mode {mode}: the processes of a run cannot share it"
            return wrong("MPS", what, "nvidia-smi -c DEFAULT")
    return ok("MPS", "does not run: processes that share a GPU take turns")


def check_roms(rom_errors: Mapping[str, str] | None, refusal: str) -> Finding:
    """rom_errors: as `readings.rom_errors`. A game's damaged ROM is wrong only if the run is refused for it."""
    fix = "pip install -c constraints.txt --force-reinstall --no-deps ale-py"
    if rom_errors is None:
        return wrong("ROMs", "ale-py cannot be imported", INSTALL)
    bad = {game: error for game, error in rom_errors.items() if error}
    if refusal in bad.values():
        return wrong("ROMs", refusal, fix)
    if bad:
        game, error = next(iter(bad.items()))
        return warning("ROMs", f"{len(bad)} of {len(rom_errors)} games, as {game}: {error}", fix)
    return ok("ROMs", f"{len(rom_errors)} games")
