"""What the tree's kernels share: tables, choices among equals, sums and exponentials."""

import math

import numba
import numpy as np
import pytest
import torch

from kernels.fast_exp import exp_of_negative
from kernels.puct_select import exploration_table
from kernels.tie_break import absorb, pick
from kernels.tree import ordered_sum


@pytest.mark.parametrize("prior_first", [True, False])
def test_exploration_table(prior_first):
    table = exploration_table(50, base=19652.0, init=1.25, prior_first=prior_first)
    for visits in (0, 1, 7, 49):
        factor = math.log((visits + 19652 + 1) / 19652) + 1.25
        assert table[visits] == pytest.approx(factor * math.sqrt(visits + prior_first), rel=1e-6)
    assert (table[0] == 0) == (not prior_first)


def test_picks_are_the_same_in_torch_and_python_and_spread():
    root = torch.arange(10_000)
    count = 1 + root % 7
    picks = pick(0xDEADBEEF, root, 3, 2, count)
    assert (picks >= 0).all() and (picks < count).all()
    for i in (0, 5, 4321, 9999):
        assert picks[i] == absorb(absorb(absorb(0xDEADBEEF, i), 3), 2) * int(count[i]) >> 32
    sevens = picks[count == 7]
    assert (torch.bincount(sevens, minlength=7) / len(sevens) - 1 / 7).abs().max() < 0.04
    others = pick(0xDEADBEEF, root, 4, 2, count), pick(0xDEADBEEF, root, 3, 1, count), pick(1, root, 3, 2, count)
    for other in others:
        assert ((other == picks) & (count == 7)).sum() < 0.2 * len(sevens)


def test_ordered_sum_adds_from_the_left():
    """2^24 + 1 is 2^24 in float32: only from the left does the 1 get lost twice."""
    row = torch.tensor([[2.0**24, 1.0, 1.0, -(2.0**24)]])
    assert ordered_sum(row).tolist() == [0.0]


def test_exp_of_negative():
    @numba.njit
    def exp(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = exp_of_negative(x[i])
        return out

    x = np.concatenate([-np.linspace(0, 87, 20_001), -np.linspace(0, 1, 20_001)]).astype(np.float32)
    np.testing.assert_allclose(exp(x), np.exp(x.astype(np.float64)), rtol=1.5e-7)
    below = exp(np.array([-90.0, -1e30, -np.inf], np.float32))
    assert ((below >= 0) & (below < 2e-38)).all()
