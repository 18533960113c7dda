"""Intervals and human-normalised scores."""

import json

import numpy as np
import pytest

from speedyzero.evaluate.human_normalised import human_normalised, reference_scores
from speedyzero.evaluate.result import EvaluationResult, bootstrap_ci95


def test_the_interval_is_the_textbooks_for_many_scores():
    scores = np.random.default_rng(3).normal(10, 4, size=400)
    low, high = bootstrap_ci95(scores)
    half_width = 1.96 * scores.std(ddof=1) / 20
    assert low == pytest.approx(scores.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(scores.mean() + half_width, abs=0.1 * half_width)
    assert bootstrap_ci95(scores) == (low, high)


def test_the_interval_of_few_scores():
    assert bootstrap_ci95(np.array([3.0])) is None
    assert bootstrap_ci95(np.array([3.0, 3.0])) == (3.0, 3.0)
    assert bootstrap_ci95(np.array([0.0, 1.0])) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["MsPacman", "ms_pacman", "mspacman"])
def test_every_spelling_of_a_game(name):
    assert reference_scores(name).human == 6951.6
    assert human_normalised(name, 307.3) == 0.0
    assert human_normalised(name, 6951.6) == 1.0


def test_a_game_without_references():
    assert reference_scores("CartPole-v1") is None
    assert human_normalised("Catch", 1.0) is None


def result(ci95, normalised):
    return EvaluationResult(
        "Pong", np.array([1.0, 2.0]), np.array([5, 6]), 1.5, 0.70710678, ci95, normalised,
        action_shares=np.array([0.25, 0.75]), policy_information=0.5, protocol={"episodes": 2, "seed": 0},
    )  # fmt: skip


def test_json_and_words():
    full = result((1.0, 2.0), 0.629)
    content = json.loads(json.dumps(full.to_json(), allow_nan=False))
    assert content["episode_scores"] == [1.0, 2.0] and content["episode_lengths"] == [5, 6]
    assert content["ci95"] == [1.0, 2.0] and content["episodes"] == 2
    assert content["human_normalised_ci95"] == pytest.approx([21.7 / 35.3, 22.7 / 35.3])
    assert all(part in str(full) for part in ("1.5", "1 to 2", "0.7071", "0.629", "0.615 to 0.643", "2 episodes"))
    assert result(None, None).to_json()["ci95"] is None and "interval" not in str(result(None, 0.629))
