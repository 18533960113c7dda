"""What checks read of the machine. Changes nothing; a reading that fails returns the reason."""

import importlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speedyzero.system.gpus import Gpu, read_gpus

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # there if it is loaded, also in a container that sees no GPU
_TIMEOUT_S = 10.0  # nvidia-smi hangs if a GPU has fallen off the bus


@dataclass(frozen=True)
class Folder:
    """A directory that is written to."""

    path: Path
    exists: bool = True  # false: missing, or not a directory
    writable: bool = True
    mode: int = 0o700
    total_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True)
class Torch:
    """error: why it cannot be imported; all else is then unset."""

    version: str = ""
    cuda: str | None = None  # version of the build; None: a CPU build
    gpus: tuple[Gpu, ...] = ()
    cuda_error: str = ""  # why it cannot use GPUs, such as a driver that is too old
    error: str = ""


def read_folder(path: Path, *, or_parent: bool = False) -> Folder:
    """or_parent: if it does not exist, its nearest existing parent, where it would be created."""
    path = path.absolute()
    if or_parent:
        path = next(folder for folder in (path, *path.parents) if folder.exists())
    if not path.is_dir():
        return Folder(path, exists=False, writable=False)
    space = os.statvfs(path)
    return Folder(
        path,
        writable=os.access(path, os.W_OK | os.X_OK),
        mode=path.stat().st_mode & 0o7777,
        total_bytes=space.f_blocks * space.f_frsize,
        free_bytes=space.f_bavail * space.f_frsize,
    )


def read_torch() -> Torch:
    if error := import_error("torch"):
        return Torch(error=error)
    import torch

    version, cuda = torch.__version__, torch.version.cuda
    if cuda is None:
        return Torch(version)
    try:
        torch.cuda.init()
        return Torch(version, cuda, read_gpus())
    except (RuntimeError, AssertionError, ValueError) as error:
        return Torch(version, cuda, cuda_error=" ".join(str(error).split()))


def import_error(name: str) -> str:
    """Why a package cannot be imported, in one line; empty if it can. A broken library may raise anything."""
    try:
        importlib.import_module(name)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def read_conflicts() -> tuple[list[str], str]:
    """What `pip check` finds, a line per package, and why it could not be run."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    lines = done.stdout.splitlines() if done.returncode else []
    return lines, "" if lines or not done.returncode else " ".join(done.stderr.split())


def read_build_error() -> str:
    """Why an extension module cannot be compiled, as Triton compiles its driver module; empty if it can."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")  # as triton/runtime/build.py
    if compiler is None:
        return "no C compiler is found"
    include = sysconfig.get_paths(scheme="posix_prefix")["include"]
    with tempfile.TemporaryDirectory() as scratch:
        source = f"{scratch}/module.c"
        Path(source).write_text("#include <Python.h>\nint found(void) { return PY_VERSION_HEX != 0; }\n")
        command = [compiler, source, "-shared", "-fPIC", f"-I{include}", "-o", f"{scratch}/module.so"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{compiler} cannot be run: {error}"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    return " ".join((errors or done.stderr.splitlines() or [f"{compiler} ended with {done.returncode}"])[0].split())


def device_files() -> int:
    """How many of /dev/nvidia0, /dev/nvidia1, ... there are."""
    return sum(path.name[6:].isdigit() for path in Path("/dev").glob("nvidia[0-9]*"))


def compute_modes() -> list[str]:
    """Of every GPU, as nvidia-smi calls them; empty without it."""
    command = ["nvidia-smi", "--query-gpu=compute_mode", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


def rom_errors() -> Mapping[str, str] | None:
    """Why each game of the Atari 100k benchmark cannot be played, empty if it can; None without ale-py."""
    if import_error("ale_py"):
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
