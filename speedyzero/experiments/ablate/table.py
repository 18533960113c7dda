"""The table of an ablation: means over seeds for every arm, with 95% bootstrap intervals."""

from collections.abc import Sequence

import numpy as np

from speedyzero.evaluate.result import mean_and_interval
from speedyzero.experiments.ablate.outcome import AblationOutcome

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
