"""expand_backup on the CPU: one pass over the roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from kernels.fast_exp import exp_of_negative
from kernels.tree import (
    CHILD,
    NO_CHILD,
    PARENT,
    PARENT_ACTION,
    PREFIX,
    PRIOR,
    Q_MAX,
    Q_MIN,
    REWARD,
    VALUE,
    VALUE_SUM,
    VALUE_TOTAL,
    VISITS,
    Q,
    Tree,
)

if TYPE_CHECKING:
    from kernels.expand_backup import ExpandBackup

_index = np.uint64  # for signed indices numba adds a noticeably slow check for negative values
_ZERO = np.float32(0.0)


def bind(tree: Tree, *, discount: float, has_prefix: bool) -> ExpandBackup:
    """The operation on `tree`, with array views made once instead of at every simulation."""
    arrays = tree.arrays
    views = arrays.edge_floats, arrays.edge_ints, arrays.node_floats, arrays.node_ints, arrays.roots, arrays.reset
    discount = float(discount)

    def expand_backup(simulation, reward, value, policy_logits):
        _expand_backup(*views, simulation, reward.numpy(), value.numpy(), policy_logits.numpy(), discount, has_prefix)

    return expand_backup


@numba.njit(cache=True, error_model="numpy")
def _expand_backup(
    edge_floats, edge_ints, node_floats, node_ints, roots, reset,
    simulation, leaf_reward, leaf_value, leaf_logits, discount, has_prefix,
):  # fmt: skip
    prior, q, value_sum, reward = edge_floats[PRIOR], edge_floats[Q], edge_floats[VALUE_SUM], edge_floats[REWARD]
    visits, child = edge_ints[VISITS], edge_ints[CHILD]
    prefix, value, parent, parent_action = (
        node_floats[PREFIX], node_floats[VALUE], node_ints[PARENT], node_ints[PARENT_ACTION]
    )  # fmt: skip
    value_total, q_min, q_max = roots[VALUE_TOTAL], roots[Q_MIN], roots[Q_MAX]
    batch, actions = _index(leaf_logits.shape[0]), _index(leaf_logits.shape[1])
    discount = np.float32(discount)
    leaf = _index(simulation + 1)
    weight = _shifted_exp(leaf_logits)
    for b in range(batch):
        total = _ZERO
        for a in range(actions):
            total += weight[b, a]
        for a in range(actions):
            prior[b, leaf, a] = weight[b, a] / total
            q[b, leaf, a] = _ZERO
            visits[b, leaf, a] = 0
            child[b, leaf, a] = NO_CHILD

        node = _index(parent[b, leaf])
        action = _index(parent_action[b, leaf])
        backed_up = leaf_value[b]
        value[b, leaf] = backed_up
        prefix[b, leaf] = leaf_reward[b] if has_prefix and not reset[b] else _ZERO
        reward[b, node, action] = leaf_reward[b] - prefix[b, node]
        value_sum[b, node, action] = _ZERO
        child[b, node, action] = leaf

        least = q_min[b]
        largest = q_max[b]
        while True:
            edge_reward = reward[b, node, action]
            edge_sum = value_sum[b, node, action] + backed_up
            edge_visits = visits[b, node, action] + 1
            edge_q = edge_reward + discount * (edge_sum / np.float32(edge_visits))
            value_sum[b, node, action] = edge_sum
            visits[b, node, action] = edge_visits
            q[b, node, action] = edge_q
            least = min(least, edge_q)
            largest = max(largest, edge_q)
            backed_up = edge_reward + discount * backed_up
            if node == 0:
                break
            action = _index(parent_action[b, node])
            node = _index(parent[b, node])
        q_min[b] = least
        q_max[b] = largest
        value_total[b] += backed_up


@numba.njit(error_model="numpy")
def _shifted_exp(logits):
    """exp(logits - their row's maximum), [B, A], in one loop that the compiler can vectorise."""
    batch, actions = logits.shape
    flat = np.empty(batch * actions, np.float32)
    weight = flat.reshape((batch, actions))
    for b in range(batch):
        highest = logits[b, 0]
        for a in range(1, actions):
            highest = max(highest, logits[b, a])
        for a in range(actions):
            weight[b, a] = logits[b, a] - highest
    for i in range(flat.shape[0]):
        flat[i] = exp_of_negative(flat[i])
    return weight
