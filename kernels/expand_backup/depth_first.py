"""The range of Q as EfficientZero's code computes it: a depth-first walk over the whole tree after each simulation.

The walk takes each node's reward relative to the previously visited node, which is its parent only for the last child.
The resulting ranges are wider than those of the true Q, which reduces the weight of values against the prior. CPU only.
"""

from collections.abc import Callable

import numba
import numpy as np

from kernels.tree import CHILD, PARENT, PARENT_ACTION, PREFIX, Q_MAX, Q_MIN, REWARD, VALUE_SUM, VISITS, Tree


def bind_depth_first_range(tree: Tree, *, discount: float) -> Callable[[], None]:
    """The operation that writes `tree.q_min` and `tree.q_max`, to be called after each simulation. CPU only."""
    arrays = tree.arrays
    views = arrays.edge_floats, arrays.edge_ints, arrays.node_floats, arrays.node_ints, arrays.roots

    def depth_first_range() -> None:
        _depth_first_range(*views, discount)

    return depth_first_range


@numba.njit(cache=True, error_model="numpy")
def _depth_first_range(edge_floats, edge_ints, node_floats, node_ints, roots, discount):
    value_sum, reward, visits, child = edge_floats[VALUE_SUM], edge_floats[REWARD], edge_ints[VISITS], edge_ints[CHILD]
    prefix, parent, parent_action = node_floats[PREFIX], node_ints[PARENT], node_ints[PARENT_ACTION]
    discount = np.float32(discount)
    batch, nodes, actions = child.shape
    stack = np.empty(nodes, np.int64)
    for b in range(batch):
        stack[0], depth = 0, 1
        measured_from = np.float32(0.0)  # the prefix of the previously visited node; 0 after a reset
        least, largest = np.float32(np.inf), np.float32(-np.inf)
        while depth > 0:
            depth -= 1
            node = stack[depth]
            if node > 0:
                above, action = parent[b, node], parent_action[b, node]
                value = value_sum[b, above, action] / np.float32(visits[b, above, action])
                q = reward[b, above, action] + prefix[b, above] - measured_from + discount * value
                least, largest = min(least, q), max(largest, q)
            for a in range(actions):
                if child[b, node, a] >= 0:
                    stack[depth] = child[b, node, a]
                    depth += 1
            measured_from = prefix[b, node]
        roots[Q_MIN, b], roots[Q_MAX, b] = least, largest
