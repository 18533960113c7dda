"""One run of a grid: what it is told, what it leaves, and whether it is done.

Nothing here starts or writes anything.
"""

from __future__ import annotations

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
    """Runs of one group differ by their seed alone: an arm of an ablation, a game of a benchmark."""
    seed: int
    config: Config
    """All settings but `run_dir`, which is empty."""
    settings: tuple[str, ...]
    """What leads to them from the preset, as key=value."""

    @property
    def name(self) -> str:
        return run_name(self.group, self.seed)

    @property
    def train_steps(self) -> int:
        return self.config.schedule.total_train_steps

    def command(self, run_dir: Path, *, inline: bool) -> list[str]:
        """The words of `train` that carry it out."""
        config = self.config
        flags = ["--game", config.env.game, "--preset", config.preset, "--seed", f"{self.seed}"]
        return ["train", *flags, "--gpus", f"{config.gpus}", "--run-dir", str(run_dir), *_mode(inline), *self.settings]

    def command_to_go_on(self, run_dir: Path, *, inline: bool) -> list[str]:
        """The words of `train` that go on from the newest checkpoint there."""
        return ["train", "--resume", str(run_dir), *_mode(inline)]


def run_name(group: str, seed: int) -> str:
    """What a run's files are called."""
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '-', group)}-seed{seed}"


def newest_step(run_dir: Path) -> int | None:
    """The train step of the newest checkpoint that a run could go on from; None where there is none."""
    checkpoints = resumable(run_dir)
    return step_of(checkpoints[0]) if checkpoints else None


def final_score(run: GridRun, run_dir: Path) -> dict | None:
    """The entry in the run's scores of its last train step, as `record_score` keeps it; None while there is none.

    Raises ValueError where a run of other settings lies there.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        return None
    _check_same(replace(load_config(path), run_dir=""), run.config, run_dir)
    scores = read_scores(run_dir)
    return scores["last"] if scores and scores["last"]["step"] == run.train_steps else None


def training_clock_s(metrics: dict[str, MetricSeries]) -> np.ndarray:
    """For how long the run had trained at each `learner/loss`, [N] float64.

    The clock of a run stands still while it is evaluated in the same process.
    """
    times_s = metrics["learner/loss"].times_s
    waits = metrics.get("evaluate/training_waited_s")
    if waits is None:
        return times_s
    total_s = np.append(0.0, np.cumsum(waits.values))  # each wait was written when it was over
    return times_s - total_s[np.searchsorted(waits.times_s, times_s, side="right")]


def _mode(inline: bool) -> list[str]:
    return ["--inline"] if inline else []


def _check_same(there: Config, planned: Config, run_dir: Path) -> None:
    different = [path for path in SETTINGS if get(there, path) != get(planned, path)]
    if different:
        shown = ", ".join(f"{path}={get(there, path)}, now {get(planned, path)}" for path in different[:3])
        raise ValueError(f"{run_dir} is a run of other settings ({shown}); choose another --out")
