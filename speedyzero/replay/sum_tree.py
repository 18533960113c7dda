"""A binary tree of sums for prioritised sampling: set a leaf or find the leaf at a prefix sum in O(log n).

Parents are recomputed from their children, never adjusted by differences, so sums do not drift over a long run.

Axes: N leaves touched or found by one call.
"""

import numba
import numpy as np


@numba.njit(cache=True)
def _set(tree, capacity, leaf, value):
    for i in range(leaf.shape[0]):
        node = capacity + leaf[i]
        tree[node] = value[i]
        node >>= 1
        while node >= 1:
            tree[node] = tree[2 * node] + tree[2 * node + 1]
            node >>= 1


@numba.njit(cache=True)
def _find(tree, capacity, prefix):
    leaf = np.empty(prefix.shape[0], np.int64)
    for i in range(prefix.shape[0]):
        remaining = prefix[i]
        node = 1
        while node < capacity:
            node *= 2
            # A zero right subtree is never entered, whatever the remainder's rounding.
            if remaining >= tree[node] and tree[node + 1] > 0.0:
                remaining -= tree[node]
                node += 1
        leaf[i] = node - capacity
    return leaf


class SumTree:
    """Non-negative weights of `size` leaves."""

    def __init__(self, size: int):
        self._capacity = 1 << max(1, (size - 1).bit_length())
        self._tree = np.zeros(2 * self._capacity, np.float64)

    @property
    def total(self) -> float:
        return float(self._tree[1])

    @property
    def leaves(self) -> np.ndarray:
        """A view of all leaf weights, followed by zeros up to a power of two."""
        return self._tree[self._capacity :]

    def set(self, leaf: np.ndarray, value: np.ndarray) -> None:
        """leaf: [N] int64; value: [N] float64. A leaf named twice keeps the later value."""
        _set(self._tree, self._capacity, leaf, value)

    def get(self, leaf: np.ndarray) -> np.ndarray:
        """Weights of the leaves, [N] float64."""
        return self._tree[self._capacity + leaf]

    def find(self, prefix: np.ndarray) -> np.ndarray:
        """The leaves at prefix sums in [0, total), [N] int64; only leaves of positive weight are found."""
        return _find(self._tree, self._capacity, prefix)
