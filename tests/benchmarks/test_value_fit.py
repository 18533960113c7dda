"""What `bench_value_fit` compares values with."""

from __future__ import annotations

import numpy as np

from benchmarks.bench_value_fit import returns_of


def test_returns_end_with_the_life_and_are_unknown_where_it_goes_on():
    reward = np.array([[1.0, 1.0], [0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])  # [T, E]
    over = np.array([[False, False], [False, False], [True, False], [False, False]])
    returns = returns_of(reward, over, discount=0.5)
    assert returns[:3, 0].tolist() == [1 + 0.5 * (0 + 0.5 * 2), 0 + 0.5 * 2, 2]
    assert np.isnan(returns[3, 0])  # the next life had not ended
    assert np.isnan(returns[:, 1]).all()
