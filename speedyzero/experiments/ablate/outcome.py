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
    """One finished run, as a line of `results.jsonl`. The last of its evaluations is the final one."""

    arm: str
    seed: int
    final_score: float
    score_at_half: float  # after half of the train steps, linearly interpolated
    area: float  # the mean score over all train steps; before the first evaluation, its score is used
    train_s: float
    steps: list[int]  # train steps of the evaluations
    scores: list[float]  # means of their games
    clock_s: list[float]  # training time until then


def outcome_of(arm: str, seed: int, steps: np.ndarray, scores: np.ndarray, clock_s: np.ndarray) -> AblationOutcome:
    area = float(np.trapezoid(np.append(scores[0], scores), np.append(0, steps)) / steps[-1])
    at_half = float(np.interp(steps[-1] / 2, steps, scores))
    clock = np.round(clock_s, 2).tolist()
    return AblationOutcome(
        arm, seed, float(scores[-1]), at_half, area, clock[-1], steps.tolist(), scores.tolist(), clock
    )


def read_outcome(run: GridRun, run_dir: Path) -> AblationOutcome:
    """The outcome of a finished run. Raises ValueError if its metrics are damaged."""
    metrics = read_metrics(run_dir)
    evaluations, losses = metrics["evaluate/mean_score"], metrics["learner/loss"]
    return outcome_of(
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
