"""Reads a run directory: of a finished, active or stopped run.

Locks and writes nothing, so a run may continue while it is read. Axes: N values of a series.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speedyzero.checkpoint.found import LOCK_FILE
from speedyzero.checkpoint.manifest import CHECKPOINTS_FOLDER
from speedyzero.checkpoint.scores import all_scores
from speedyzero.config import Config
from speedyzero.config.documents import load_config
from speedyzero.nodes.share import NODES_FOLDER
from speedyzero.observe.metrics import METRICS_FILE, MetricSeries, read_metrics
from speedyzero.observe.system import read_systems
from speedyzero.system.writer_lock import is_locked

_NOTHING = MetricSeries(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


@dataclass(frozen=True)
class RunRecord:
    run_dir: Path
    config: Config
    settings: str  # all of them, as YAML
    metrics: dict[str, MetricSeries]
    scores: list[dict[str, Any]]  # every evaluation, oldest first
    systems: list[dict[str, Any]]  # one for each start or resume
    at_work: bool  # a process holds the run's lock
    crashes: tuple[str, ...]  # files with tracebacks

    @property
    def name(self) -> str:
        return self.run_dir.resolve().name

    def series(self, name: str) -> MetricSeries:
        """A metric; empty if the run did not record it."""
        return self.metrics.get(name, _NOTHING)

    @property
    def train_steps(self) -> int:
        return max((int(series.steps.max()) for series in self.metrics.values()), default=0)

    @property
    def env_steps(self) -> int:
        return int(self._env_steps.values.max(initial=0))

    @property
    def duration_s(self) -> float:
        """Active seconds, including those before a resume."""
        return max((float(series.times_s.max()) for series in self.metrics.values()), default=0.0)

    @property
    def state(self) -> str:
        """The run's state as text."""
        total, resumed = self.config.schedule.total_train_steps, len(self.systems) - 1
        words = f"stopped at train step {self.train_steps:,} of {total:,}"
        if self.at_work:
            words = f"at work, at train step {self.train_steps:,} of {total:,}"
        elif self.scores and self.scores[-1]["step"] >= total:
            words = "finished"
        if resumed > 0:
            words += f"; resumed {resumed} time{'s' if resumed > 1 else ''}"
        return words + (f"; tracebacks in {', '.join(self.crashes)}" if self.crashes else "")

    def env_steps_by(self, times_s: np.ndarray) -> np.ndarray:
        """Env steps played at given times, [N] float64, the head start included."""
        known = self._env_steps
        times, values = [0.0, *known.times_s], [0.0, *np.maximum.accumulate(known.values)]
        return np.interp(times_s, times, values)

    def time_at(self, train_steps: np.ndarray) -> np.ndarray:
        """Times at which given train steps were reached, [N] float64."""
        known = self.series("learner/loss")
        return np.interp(train_steps, known.steps, known.times_s) if len(known.steps) else np.zeros(len(train_steps))

    @property
    def _env_steps(self) -> MetricSeries:
        """Recorded by the supervisor in process mode, by the reanalyzer inline."""
        counted = self.series("supervisor/env_steps")
        return counted if len(counted.steps) else self.series("reanalyzer/env_steps")


def read_run(run_dir: Path) -> RunRecord:
    """Raises ValueError, one line, if `run_dir` is not a run directory or is damaged."""
    config_file = run_dir / "config.yaml"
    if not config_file.is_file():
        raise ValueError(
            f"{run_dir}: no config.yaml there, so not the directory of a run; name one, as runs/Pong-laptop-seed0-001"
        )
    return RunRecord(
        run_dir=run_dir,
        config=load_config(config_file),
        settings=config_file.read_text(encoding="utf-8"),
        metrics=_metrics_of(run_dir) | _times_elsewhere(run_dir),
        scores=all_scores(run_dir),
        systems=read_systems(run_dir),
        at_work=is_locked(run_dir / CHECKPOINTS_FOLDER / LOCK_FILE),
        crashes=tuple(
            str(path.relative_to(run_dir))
            for pattern in ("crash.*.txt", f"{NODES_FOLDER}/*/crash.*.txt")
            for path in sorted(run_dir.glob(pattern))
        ),
    )


def _metrics_of(run_dir: Path) -> dict[str, MetricSeries]:
    """There are none in the first seconds."""
    return read_metrics(run_dir) if (run_dir / METRICS_FILE).is_file() else {}


def _times_elsewhere(run_dir: Path) -> dict[str, MetricSeries]:
    """What the processes of other nodes did with their time, as `time/1/actor-0/busy_s`."""
    found = {}
    for folder in sorted(run_dir.glob(f"{NODES_FOLDER}/*/"), key=lambda path: path.name):
        for name, series in _metrics_of(folder).items():
            if name.startswith("time/"):
                found[f"time/{folder.name}/{name.removeprefix('time/')}"] = series
    return found
