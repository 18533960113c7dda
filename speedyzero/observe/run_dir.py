"""The run directory: its name, its log and the summary printed at the end.

`runs/<game>-<preset>-seed<seed>-<NNN>` holds config.yaml, metrics.jsonl, TensorBoard events, log.txt, checkpoints/,
scores.json, evaluations/ and videos/. A number is never reused and nothing is overwritten.
"""

import logging
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speedyzero.observe.progress import format_duration

LOG_FILE = "log.txt"
LOGGER_NAME = "speedyzero"


def create_run_dir(*, game: str, preset: str, seed: int, root: str | Path = "runs", run_dir: str = "") -> Path:
    """Create and return a new run directory: `run_dir` if given, otherwise a numbered one below `root`.

    Raises ValueError if `run_dir` exists and is not empty, or cannot be created.
    """
    try:
        return _take(Path(run_dir)) if run_dir else _take_next(Path(root), f"{game}-{preset}-seed{seed}")
    except OSError as error:
        raise ValueError(f"cannot create the run directory {run_dir or root}: {error.strerror}") from error


@contextmanager
def run_log(run_dir: str | Path) -> Iterator[logging.Logger]:
    """The project's logger, writing to the run directory's log.txt while the context lasts."""
    logger = logging.getLogger(LOGGER_NAME)
    handler = logging.FileHandler(Path(run_dir) / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s"))
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def summary(
    run_dir: str | Path, *, game: str, env_steps: int, train_steps: int, duration_s: float, score: str, film: bool
) -> str:
    """What a finished run prints last: steps, score, directory and suggested commands. film: it can be filmed."""
    quoted = shlex.quote(str(run_dir))
    named = f" --game {shlex.quote(game)}" if ":" in game else ""  # a user's own game must be named explicitly
    return "\n".join(
        (
            f"done         {env_steps} env steps, {train_steps} train steps in {format_duration(duration_s)}",
            f"score        {score}",
            f"results      {run_dir}",
            f"{'watch it ' if film else 'score it':12} python -m speedyzero evaluate {quoted}{named} --episodes 32"
            + film * " --video out.mp4",
            f"curves       tensorboard --logdir {quoted}",
        )
    )


def _take(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise ValueError(f"run directory {path} is not empty: choose another, nothing is overwritten")
    return path


def _take_next(root: Path, stem: str) -> Path:
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", stem)  # a Gymnasium id may hold a slash
    root.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(re.escape(stem) + r"-(\d{3,})")
    used = [int(match.group(1)) for match in (pattern.fullmatch(entry.name) for entry in root.iterdir()) if match]
    number = max(used, default=0) + 1
    while True:
        path = root / f"{stem}-{number:03}"
        try:
            path.mkdir()  # fails if another run took the number at the same time
            return path
        except FileExistsError:
            number += 1
