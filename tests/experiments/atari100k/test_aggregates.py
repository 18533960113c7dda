"""Aggregates by hand and against a slow version in plain Python. Published figures: test_results.py."""

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest

from speedyzero.experiments.atari100k.aggregates import AGGREGATES, aggregate, performance_profile, resample


def games(*rows: Sequence[float]) -> list[np.ndarray]:
    return [np.array(row, np.float64) for row in rows]


HAND = games([0.0, 0.2], [0.4, 0.6], [1.0, 3.0], [2.0, 8.0])


def test_aggregates_by_hand():
    """Game means 0.1, 0.5, 2, 5. Sorted runs 0, 0.2 | 0.4, 0.6, 1, 2 | 3, 8. Capped at 1 they sum to 5.2 of 8."""
    values = {name: estimate.value for name, estimate in aggregate(HAND).items()}
    assert values == pytest.approx({"mean": 1.9, "median": 1.25, "iqm": 1.0, "optimality_gap": 1 - 5.2 / 8})


def test_games_with_more_runs_weigh_no_more_in_means_and_more_in_the_middle_half():
    scores = games([0.0], [1.0, 1.0, 1.0])
    values = {name: estimate.value for name, estimate in aggregate(scores).items()}
    assert values == {"mean": 0.5, "median": 0.5, "iqm": 1.0, "optimality_gap": 0.5}


def slow(scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """The formulas once more, in plain Python."""
    means = sorted(sum(game) / len(game) for game in scores)
    runs = sorted(score for game in scores for score in game)
    cut = len(runs) // 4
    middle = runs[cut : len(runs) - cut]
    half = len(means) // 2
    gaps = [sum(max(0.0, 1.0 - score) if score < 1 else 0.0 for score in game) / len(game) for game in scores]
    return {
        "mean": sum(means) / len(means),
        "median": means[half] if len(means) % 2 else (means[half - 1] + means[half]) / 2,
        "iqm": sum(middle) / len(middle),
        "optimality_gap": sum(gaps) / len(gaps),
    }


@pytest.mark.parametrize("shape", [(26, 5), (3, 1), (1, 6), (7, 3)])
def test_aggregates_and_their_replicates_are_as_in_plain_python(shape: tuple[int, int]):
    rng = random.Random(sum(shape))
    scores = games(*([rng.gauss(0.8, 1.0) for _ in range(shape[1])] for _ in range(shape[0])))
    drawn = resample(scores, replicates=4, seed=1)
    for name, of in AGGREGATES.items():
        assert of(scores) == pytest.approx(slow(scores)[name], abs=1e-12)
        expected = [slow([game[replicate] for game in drawn])[name] for replicate in range(4)]
        assert of(drawn) == pytest.approx(np.array(expected), abs=1e-12)


def test_runs_are_drawn_within_their_game_and_each_as_often():
    scores = games([1.0, 2.0], [10.0, 20.0, 30.0])
    low, high = resample(scores, replicates=20_000, seed=0)
    assert low.shape == (20_000, 2) and high.shape == (20_000, 3)
    for drawn, game in ((low, scores[0]), (high, scores[1])):
        kinds, counts = np.unique(drawn, return_counts=True)
        assert kinds.tolist() == game.tolist()
        assert counts / drawn.size == pytest.approx(1 / len(game), abs=0.01)  # above 5 standard deviations
        patterns, counts = np.unique(drawn, axis=0, return_counts=True)
        assert len(patterns) == len(game) ** len(game)  # with replacement, and no place tied to another


def test_intervals_are_the_quantiles_of_all_possible_replicates():
    """Two games of three runs have 27 * 27 equally likely replicates: the exact bootstrap distribution."""
    scores = games([0.1, 0.5, 1.7], [0.3, 0.9, 2.9])
    every = [list(itertools.product(game, repeat=3)) for game in scores]
    exact = [slow([first, second]) for first in every[0] for second in every[1]]
    for name, estimate in aggregate(scores).items():
        values = np.array([one[name] for one in exact])
        assert estimate.ci95 is not None
        for bound, share in zip(estimate.ci95, (0.025, 0.975), strict=True):
            below, up_to = np.mean(values < bound - 1e-9), np.mean(values < bound + 1e-9)
            assert below <= share + 0.005 and up_to >= share - 0.005, name  # 3 standard deviations of 10,000 draws


def test_a_profile_is_the_share_of_runs_above_by_hand():
    profile = performance_profile(HAND, np.array([-1.0, 0.0, 0.3, 1.0, 8.0]))
    assert profile.share.tolist() == [1.0, 7 / 8, 6 / 8, 3 / 8, 0.0]  # above, not at


def test_bands_of_a_profile_are_of_the_exact_distribution_too():
    """At 1, game one is above in none to all of two draws, game two always: 1/2, 3/4 or 1 with 1/4, 1/2, 1/4."""
    profile = performance_profile(games([0.0, 2.0], [3.0, 4.0]), np.array([1.0, 3.5, 9.0]))
    assert profile.low is not None and profile.high is not None
    assert (profile.low[0], profile.high[0]) == (0.5, 1.0)
    # at 3.5 game one is never above, game two in none to two draws
    assert (profile.low[1], profile.high[1]) == (0.0, 0.5)
    assert (profile.low[2], profile.share[2], profile.high[2]) == (0.0, 0.0, 0.0)


def test_one_run_a_game_has_no_interval_and_two_runs_of_one_game_have_one():
    assert performance_profile(games([0.5], [1.5]), np.array([1.0])).low is None
    assert {one.ci95 for one in aggregate(games([0.5], [1.5])).values()} == {None}
    low, high = aggregate(games([0.5], [1.0, 2.0]))["mean"].ci95
    assert (low, high) == (0.75, 1.25)
