"""The sum tree beside plain numpy; whole numbers, so that every sum is exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.replay.sum_tree import SumTree


@given(st.integers(1, 40), st.data())
def test_like_numpy(size, data):
    tree, weights = SumTree(size), np.zeros(size)
    updates = st.lists(st.tuples(st.integers(0, size - 1), st.sampled_from([0, 0, 1, 2, 7])), max_size=12)
    for _ in range(data.draw(st.integers(1, 4))):
        leaf, value = np.array(data.draw(updates), np.int64).reshape(-1, 2).T
        tree.set(leaf, value.astype(np.float64))
        for one_leaf, one_value in zip(leaf, value, strict=True):  # a leaf named twice keeps the later value
            weights[one_leaf] = one_value
    assert tree.total == weights.sum()
    np.testing.assert_array_equal(tree.get(np.arange(size)), weights)
    prefix = np.arange(0, weights.sum(), 0.5)
    np.testing.assert_array_equal(tree.find(prefix), np.searchsorted(np.cumsum(weights), prefix, side="right"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_only_positive_leaves_are_found_whatever_rounding_says(size):
    for only in range(size):
        tree = SumTree(size)
        tree.set(np.array([only]), np.array([0.1]))
        prefix = np.array([0.0, 0.05, np.nextafter(0.1, 0), 0.1, 0.1 + 1e-12])
        assert tree.find(prefix).tolist() == [only] * len(prefix)


def test_sums_do_not_drift():
    """After any history the sums are those of a new tree with the same leaves, to the bit."""
    rng = np.random.default_rng(0)
    tree = SumTree(50)
    for _ in range(300):
        tree.set(rng.integers(0, 50, 20), 10.0 ** rng.uniform(-6, 6, 20))
    fresh = SumTree(50)
    fresh.set(np.arange(50), tree.get(np.arange(50)))
    assert tree.total == fresh.total
