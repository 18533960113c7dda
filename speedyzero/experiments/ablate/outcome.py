"""The results of one ablation run, read from its directory.

Intermediate scores are evaluations by the protocol, with fewer games than the final one. The actors' own games are not
used: noise and temperature lower their scores, and they lag behind the weights.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speedyzero.experiments.grid.run import GridRun, training_clock_s
from speedyzero.observe.metrics import read_metrics


@dataclass(frozen=True)
class AblationOutcome:
    """One finished run. N evaluations, the last of them the final one."""

    arm: str
    seed: int
    steps: np.ndarray  # [N] int64, train steps
    scores: np.ndarray  # [N] float64, means of games
    clock_s: np.ndarray  # [N] float64, training time at those train steps

    @property
    def final_score(self) -> float:
        return float(self.scores[-1])

    @property
    def score_at_half(self) -> float:
        """Score after half of the train steps, linearly interpolated."""
        return float(np.interp(self.steps[-1] / 2, self.steps, self.scores))

    @property
    def area(self) -> float:
        """The mean score over all train steps; before the first evaluation, its score is used."""
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


def read_outcome(run: GridRun, run_dir: Path) -> AblationOutcome:
    """The outcome of a finished run. Raises ValueError if its metrics are damaged."""
    metrics = read_metrics(run_dir)
    evaluations, losses = metrics["evaluate/mean_score"], metrics["learner/loss"]
    return AblationOutcome(
        run.group,
        run.seed,
        evaluations.steps,
        evaluations.values,
        np.interp(evaluations.steps, losses.steps, training_clock_s(metrics)),
    )
