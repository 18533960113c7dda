"""The table and the curves, on outcomes made by hand."""

import numpy as np

from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.experiments.ablate.curves import curve_of
from speedyzero.experiments.ablate.outcome import AblationOutcome
from speedyzero.experiments.ablate.table import table_of


def outcome(arm: str, seed: int, scores: list[float], clock_s: list[float], steps=(50, 100)) -> AblationOutcome:
    return AblationOutcome(arm, seed, np.array(steps, np.int64), np.array(scores), np.array(clock_s))


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


def test_a_curve_is_the_mean_by_step_at_the_median_clock():
    curve = curve_of([one for one in OUTCOMES if one.arm == "base"])
    assert curve.steps.tolist() == [50, 100]
    assert curve.mean.tolist() == [0.5, 2.0]
    assert curve.clock_s.tolist() == [110.0, 210.0]
    assert [curve.low[1], curve.high[1]] == list(bootstrap_ci95(np.array([1.0, 3.0, 2.0])))


def test_runs_that_were_evaluated_at_other_steps_meet_where_all_are_known():
    """As processes an evaluation may be left out, when one before it took too long."""
    sparse = outcome("base", 1, [0.0, 1.0], [10.0, 20.0], steps=(50, 100))
    dense = outcome("base", 0, [3.0, 0.0, 0.0, 1.0], [2.0, 10.0, 15.0, 20.0], steps=(10, 50, 75, 100))
    curve = curve_of([dense, sparse])
    assert curve.steps.tolist() == [50, 75, 100]
    assert curve.mean.tolist() == [0.0, 0.25, 1.0]
