"""The aggregates beside `rliable`, the library of the method's authors: `pip install speedyzero[rliable]`."""

import numpy as np
import pytest

from speedyzero.experiments.atari100k.aggregates import aggregate, performance_profile

rliable = pytest.importorskip("rliable", reason="rliable is an optional extra")
REPLICATES = 10_000


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    """[R, G]: 5 runs of 26 games, as skewed as scores on Atari are."""
    rng = np.random.default_rng(7)
    return np.exp(rng.normal(-0.5, 1.5, 26) + rng.normal(0, 0.3, (5, 26))) - 0.05


def test_aggregates_and_intervals_agree(scores: np.ndarray):
    from rliable import library, metrics

    theirs = {
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "iqm": metrics.aggregate_iqm,
        "optimality_gap": metrics.aggregate_optimality_gap,
    }
    points, intervals = library.get_interval_estimates(
        {"ours": scores},
        lambda x: np.array([of(x) for of in theirs.values()]),
        reps=REPLICATES,
        random_state=np.random.RandomState(0),
    )
    ours = aggregate(list(scores.T), replicates=REPLICATES)
    for index, name in enumerate(theirs):
        low, high = intervals["ours"][:, index]
        print(f"{name}: {ours[name]}, rliable {points['ours'][index]} ({low} to {high})")
        assert ours[name].value == pytest.approx(points["ours"][index], rel=1e-12)
        # the quantiles of 10,000 draws are themselves uncertain by about 2% of the interval
        assert ours[name].ci95 == pytest.approx((low, high), abs=0.06 * (high - low))


def test_profiles_and_bands_agree(scores: np.ndarray):
    from rliable import library

    thresholds = np.linspace(0, 8, 17)
    shares, bands = library.create_performance_profile({"ours": scores}, thresholds, reps=2_000)
    ours = performance_profile(list(scores.T), thresholds, replicates=2_000)
    assert ours.low is not None and ours.high is not None
    assert ours.share == pytest.approx(shares["ours"], abs=1e-12)
    one_run = 1 / scores.size  # shares are whole runs, so quantiles differ by none or one
    assert ours.low == pytest.approx(bands["ours"][0], abs=1.01 * one_run)
    assert ours.high == pytest.approx(bands["ours"][1], abs=1.01 * one_run)
