"""The directory of a run to resume, and whether another process writes there. Does not import torch."""

from pathlib import Path

from speedyzero.checkpoint.manifest import CHECKPOINTS_FOLDER
from speedyzero.system.writer_lock import holder_of, is_locked

RUNS = Path("runs")
LOCK_FILE = "lock"


def directory_to_resume(where: str) -> Path:
    """A run's directory or one of its checkpoints; by default the only run in `runs/`.

    Raises ValueError, in one line, if there is none.
    """
    path = Path(where) if where else _only_run()
    if not path.is_dir():
        raise ValueError(f"--resume {path}: {'is no directory' if path.exists() else 'there is no such directory'}")
    return path


def run_of(directory: Path) -> Path:
    """The run's directory, of itself or of one of its checkpoints."""
    is_checkpoint = directory.resolve().parent.name == CHECKPOINTS_FOLDER
    return directory.resolve().parent.parent if is_checkpoint else directory


def check_unlocked(directory: Path) -> None:
    """Raises ValueError while another process writes in the run of this directory or checkpoint."""
    lock = run_of(directory) / CHECKPOINTS_FOLDER / LOCK_FILE
    if is_locked(lock):
        raise ValueError(
            f"--resume {directory}: process {holder_of(lock)} is at work in that run and must end first (lock: {lock})"
        )


def _only_run() -> Path:
    runs = sorted(path.parent for path in RUNS.glob(f"*/{CHECKPOINTS_FOLDER}") if path.is_dir())
    if len(runs) != 1:
        there = f"there are {len(runs)}" + (f", the last is {runs[-1]}" if runs else "")
        raise ValueError(f"--resume: name the run's directory, as --resume {RUNS}/Pong-laptop-seed0-001; {there}")
    return runs[0]
