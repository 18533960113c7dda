"""The results of one ablation run, read from its directory, and the table of all.

Intermediate scores are evaluations by the protocol, with fewer games than the final one. The actors' own games are not
used: noise and temperature lower their scores, and they lag behind the weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speedyzero.evaluate.result import mean_and_interval
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


COLUMNS = {
    "final score": "final_score",
    "score at half": "score_at_half",
    "area under the curve": "area",
    "training, s": "train_s",
}


def table_of(outcomes: Sequence[AblationOutcome]) -> str:
    """Markdown, one row per arm in order of first appearance, with a legend below."""
    lines = [f"| arm | seeds | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for arm, runs in by_arm(outcomes).items():
        cells = [mean_and_interval(np.array([getattr(run, name) for run in runs])) for name in COLUMNS.values()]
        lines.append(f"| {arm} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", LEGEND, ""])


LEGEND = (
    "Mean over seeds (95% bootstrap interval of that mean; of few seeds it is too narrow). Score at half: after half "
    "of the train steps. Area: mean score over all train steps. Training: without pauses for evaluations."
)


def by_arm(outcomes: Sequence[AblationOutcome]) -> dict[str, list[AblationOutcome]]:
    """Outcomes by arm, in order of first appearance."""
    arms: dict[str, list[AblationOutcome]] = {}
    for outcome in outcomes:
        arms.setdefault(outcome.arm, []).append(outcome)
    return arms
