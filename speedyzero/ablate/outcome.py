"""What came of one run of an ablation, read from its directory.

Scores on the way are evaluations of the weights by the protocol, as the final one, of fewer games: the actors' own
games cost nothing, but their scores fall with noise and temperature and lag behind the weights. The clock of a run
stands still while it is evaluated in the same process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speedyzero.ablate.plan import PlannedRun
from speedyzero.checkpoint.scores import read_scores
from speedyzero.config import Config, get
from speedyzero.observe.metrics import MetricSeries, read_metrics
from speedyzero.resolve import load_config
from speedyzero.settings import SETTINGS


@dataclass(frozen=True)
class Outcome:
    """One finished run. N evaluations, the last of them the final one."""

    arm: str
    seed: int
    steps: np.ndarray  # [N] int64, train steps
    scores: np.ndarray  # [N] float64, means of games
    clock_s: np.ndarray  # [N] float64, of training, when those train steps were done

    @property
    def final_score(self) -> float:
        return float(self.scores[-1])

    @property
    def score_at_half(self) -> float:
        """After half of the train steps, between evaluations by a straight line."""
        return float(np.interp(self.steps[-1] / 2, self.steps, self.scores))

    @property
    def area(self) -> float:
        """The mean score over all train steps; before the first evaluation its score."""
        steps, scores = np.append(0, self.steps), np.append(self.scores[0], self.scores)
        return float(np.trapezoid(scores, steps) / steps[-1])

    @property
    def train_s(self) -> float:
        return float(self.clock_s[-1])

    def to_json(self) -> dict:
        return {
            "arm": self.arm,
            "seed": self.seed,
            "final_score": self.final_score,
            "score_at_half": self.score_at_half,
            "area": self.area,
            "train_s": round(self.train_s, 2),
            "steps": self.steps.tolist(),
            "scores": self.scores.tolist(),
            "clock_s": np.round(self.clock_s, 2).tolist(),
        }

    @classmethod
    def of_json(cls, entry: dict) -> Outcome:
        return cls(
            entry["arm"],
            entry["seed"],
            np.array(entry["steps"], np.int64),
            np.array(entry["scores"], np.float64),
            np.array(entry["clock_s"], np.float64),
        )


def is_finished(run: PlannedRun, run_dir: Path) -> bool:
    """Whether the run has been carried out to the end, with these settings.

    Raises ValueError where a run of other settings lies there.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        return False
    _check_same(replace(load_config(path), run_dir=""), run.config, run_dir)
    scores = read_scores(run_dir)
    return bool(scores) and scores["last"]["step"] == run.config.schedule.total_train_steps


def read_outcome(run: PlannedRun, run_dir: Path) -> Outcome:
    """Of a finished run. Raises ValueError where its metrics are damaged."""
    metrics = read_metrics(run_dir)
    evaluations, losses = metrics["evaluate/mean_score"], metrics["learner/loss"]
    clock_s = losses.times_s - _stood_still(metrics.get("evaluate/training_waited_s"), losses.times_s)
    return Outcome(
        run.arm,
        run.seed,
        evaluations.steps,
        evaluations.values,
        np.interp(evaluations.steps, losses.steps, clock_s),
    )


def _stood_still(waits: MetricSeries | None, times_s: np.ndarray) -> np.ndarray:
    """For how long the training had stood still at each time, [N]. Each wait was written when it was over."""
    if waits is None:
        return np.zeros_like(times_s)
    total_s = np.append(0.0, np.cumsum(waits.values))
    return total_s[np.searchsorted(waits.times_s, times_s, side="right")]


def _check_same(there: Config, planned: Config, run_dir: Path) -> None:
    different = [path for path in SETTINGS if get(there, path) != get(planned, path)]
    if different:
        shown = ", ".join(f"{path}={get(there, path)}, now {get(planned, path)}" for path in different[:3])
        raise ValueError(f"{run_dir} is a run of other settings ({shown}); choose another --out")
