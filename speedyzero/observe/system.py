"""The hardware and software of a run: `RUN_DIR/system.json`, one entry for each start or resume.

Written by `keeper.py` when a run starts, read by reports. Names no host and no user, as run directories are shared.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

from speedyzero.system.atomic_file import write_json
from speedyzero.system.gpus import known_gpus

SYSTEM_FILE = "system.json"
PACKAGES = ("speedyzero", "torch", "triton", "numba", "numpy", "ale-py", "gymnasium")
_SOURCES = Path(__file__).resolve().parents[2]


def record_system(run_dir: str | Path, *, gpus: int) -> None:
    """Append this machine to a run's record. gpus: number the run uses."""
    write_json(Path(run_dir) / SYSTEM_FILE, [*read_systems(run_dir), system(gpus=gpus)])


def read_systems(run_dir: str | Path) -> list[dict[str, Any]]:
    """Entries in the order of starts; empty if the run has no record. Raises ValueError for a damaged file."""
    path = Path(run_dir) / SYSTEM_FILE
    if not path.is_file():
        return []
    try:
        systems = json.loads(path.read_bytes())
        if not isinstance(systems, list) or not all(isinstance(entry, dict) for entry in systems):
            raise ValueError("not a list of objects")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return systems


def system(*, gpus: int) -> dict[str, Any]:
    """This machine as strict JSON. gpus: how many to name; 0 does not query the driver."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "commit": commit(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": [gpu.name for gpu in known_gpus()[:gpus]] if gpus else [],
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version_of(name) for name in PACKAGES},
    }


def commit() -> str | None:
    """The commit of the checkout that holds this code, with `+` if files differ from it; None outside of a checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=_SOURCES, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        if git("ls-files", "speedyzero/__init__.py") == "":  # installed inside another repository
            return None
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def version_of(package: str) -> str | None:
    """A package's installed version; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
