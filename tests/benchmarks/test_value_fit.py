"""What `bench_value_fit` compares values with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_value_fit import _information, chains_of, returns_of


def test_returns_end_with_the_life_and_are_unknown_where_it_goes_on():
    reward = np.array([[1.0, 1.0], [0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])  # [T, E]
    over = np.array([[False, False], [False, False], [True, False], [False, False]])
    returns = returns_of(reward, over, discount=0.5)
    assert returns[:3, 0].tolist() == [1 + 0.5 * (0 + 0.5 * 2), 0 + 0.5 * 2, 2]
    assert np.isnan(returns[3, 0])  # the next life had not ended
    assert np.isnan(returns[:, 1]).all()


def test_chains_are_five_played_actions_of_one_life():
    known, over = np.ones((9, 2), bool), np.zeros((9, 2), bool)
    over[5, 0], known[6:, 1] = True, False  # a life of lane 0 ends with tick 5; lane 1's last life did not end
    action = np.arange(18).reshape(9, 2)
    chains = chains_of(known, over, action)
    place = np.cumsum(known.reshape(-1)).reshape(known.shape) - 1
    assert list(zip(chains.first.tolist(), chains.last.tolist(), strict=True)) == [
        (place[0, 0], place[5, 0]),
        (place[0, 1], place[5, 1]),
    ]
    assert chains.action.tolist() == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_information_of_policies_that_know_the_position_and_of_those_that_do_not():
    assert _information(np.array([[0.7, 0.3], [0.7, 0.3]])) == pytest.approx(0.0)
    assert _information(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(np.log(2))
