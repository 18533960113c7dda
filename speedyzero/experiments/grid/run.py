"""One run of a grid: its command line, its results, and whether it is finished. Starts and writes nothing."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config, get
from speedyzero.config.documents import load_config
from speedyzero.config.settings import SETTINGS
from speedyzero.observe.metrics import MetricSeries


@dataclass(frozen=True)
class GridRun:
    group: str
    """Runs of one group differ only by their seed: an arm of an ablation, a game of a benchmark."""
    seed: int
    config: Config
    """All settings except `run_dir`, which is empty."""
    settings: tuple[str, ...]
    """Overrides of the preset, as key=value."""

    @property
    def name(self) -> str:
        return run_name(self.group, self.seed)

    @property
    def train_steps(self) -> int:
        return self.config.schedule.total_train_steps

    def command(self, run_dir: Path, *, inline: bool) -> list[str]:
        """The arguments of `train` that start the run."""
        config = self.config
        flags = ["--game", config.env.game, "--preset", config.preset, "--seed", f"{self.seed}"]
        return ["train", *flags, "--gpus", f"{config.gpus}", "--run-dir", str(run_dir), *_mode(inline), *self.settings]

    def command_to_go_on(self, run_dir: Path, *, inline: bool) -> list[str]:
        """The arguments of `train` that resume the run from its newest checkpoint."""
        return ["train", "--resume", str(run_dir), *_mode(inline)]


def run_name(group: str, seed: int) -> str:
    """The base name of a run's files."""
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '-', group)}-seed{seed}"


def newest_step(run_dir: Path) -> int | None:
    """The train step of the newest resumable checkpoint; None if there is none."""
    checkpoints = resumable(run_dir)
    return step_of(checkpoints[0]) if checkpoints else None


def final_score(run: GridRun, run_dir: Path) -> dict | None:
    """The entry of the last train step in the run's scores, as written by `record_score`; None while there is none.

    Raises ValueError if `run_dir` holds a run of other settings.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        return None
    _check_same(replace(load_config(path), run_dir=""), run.config, run_dir)
    scores = read_scores(run_dir)
    return scores["last"] if scores and scores["last"]["step"] == run.train_steps else None


def training_clock_s(metrics: dict[str, MetricSeries]) -> np.ndarray:
    """Training time at each `learner/loss`, [N] float64; excludes pauses for evaluations in the same process."""
    times_s = metrics["learner/loss"].times_s
    waits = metrics.get("evaluate/training_waited_s")
    if waits is None:
        return times_s
    total_s = np.append(0.0, np.cumsum(waits.values))  # each wait is recorded at its end
    return times_s - total_s[np.searchsorted(waits.times_s, times_s, side="right")]


def _mode(inline: bool) -> list[str]:
    return ["--inline"] if inline else []


def _check_same(there: Config, planned: Config, run_dir: Path) -> None:
    different = [path for path in SETTINGS if get(there, path) != get(planned, path)]
    if different:
        shown = ", ".join(f"{path}={get(there, path)}, now {get(planned, path)}" for path in different[:3])
        raise ValueError(f"{run_dir} is a run of other settings ({shown}); choose another --out")
