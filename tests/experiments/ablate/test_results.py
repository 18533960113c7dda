"""The table, on outcomes made by hand."""

import numpy as np

from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.experiments.ablate.outcome import AblationOutcome, outcome_of, table_of


def outcome(arm: str, seed: int, scores: list[float], clock_s: list[float], steps=(50, 100)) -> AblationOutcome:
    return outcome_of(arm, seed, np.array(steps, np.int64), np.array(scores), np.array(clock_s))


OUTCOMES = [
    outcome("base", 0, [0.0, 1.0], [100.0, 200.0]),
    outcome("off", 0, [0.25, 0.5], [120.0, 220.0]),
    outcome("base", 1, [0.5, 3.0], [110.0, 210.0]),
    outcome("base", 2, [1.0, 2.0], [300.0, 640.0]),
]


def test_a_row_is_means_over_seeds_with_their_intervals():
    _, _, base, off = table_of(OUTCOMES).splitlines()[:4]
    low, high = bootstrap_ci95(np.array([1.0, 3.0, 2.0]))
    assert base.startswith(f"| base | 3 | 2.00 ({low:.2f} to {high:.2f}) | 0.50 (0.00 to 1.00) | ")
    assert base.endswith("| 350.0 (200.0 to 640.0) |")
    # one seed: no interval. area = 0.25 held to step 50, then up to 0.5
    assert off == "| off | 1 | 0.50 | 0.25 | 0.31 | 220.0 |"
