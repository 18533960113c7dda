"""puct_select on the CPU: one root at a time, from its root node to its leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from kernels import tie_break
from kernels.tree import CHILD, PARENT, PARENT_ACTION, PRIOR, Q_MAX, Q_MIN, VISITS, Q, Tree

if TYPE_CHECKING:
    from kernels.puct_select import PuctRule, Select

_index = np.uint64  # for signed indices numba adds a noticeably slow check for negative values
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_INFINITY = np.float32(np.inf)
_TIE_WIDTH = np.float32(1e-6)

# numba's disk cache checks only this file: remove __pycache__ after a change of tie_break.
_absorb = numba.njit(inline="always")(tie_break.absorb)


def bind(tree: Tree, rule: PuctRule) -> Select:
    """The operation on `tree`, with array views made once instead of at every simulation."""
    arrays = tree.arrays
    views = (
        arrays.edge_floats, arrays.edge_ints, arrays.node_ints, arrays.roots,
        arrays.action, arrays.parent_row, arrays.reset, rule.exploration.numpy(),
    )  # fmt: skip
    delta_max, horizon = float(rule.value_delta_max), int(rule.prefix_horizon)
    tie_seed = -1 if rule.tie_seed is None else int(rule.tie_seed)

    def puct_select(simulation):
        _puct_select(*views, simulation, delta_max, horizon, tie_seed)

    return puct_select


@numba.njit(cache=True, error_model="numpy")
def _puct_select(
    edge_floats, edge_ints, node_ints, roots, leaf_action, parent_row, reset, exploration,
    simulation, value_delta_max, horizon, tie_seed,
):  # fmt: skip
    prior, q, visits, child = edge_floats[PRIOR], edge_floats[Q], edge_ints[VISITS], edge_ints[CHILD]
    parent, parent_action = node_ints[PARENT], node_ints[PARENT_ACTION]
    q_min, q_max = roots[Q_MIN], roots[Q_MAX]
    batch, actions = _index(prior.shape[0]), _index(prior.shape[2])
    value_delta_max = np.float32(value_delta_max)
    score = np.empty(actions, np.float32)
    leaf = _index(simulation + 1)
    for b in range(batch):
        least = q_min[b]
        normalises = q_max[b] > least
        width = max(q_max[b] - least, value_delta_max)
        node = _index(0)
        depth = 0
        mean_q = _ZERO
        while True:
            total_visits = np.int32(0)
            visited = np.int32(0)
            q_total = _ZERO
            for a in range(actions):
                edge_visits = visits[b, node, a]
                total_visits += edge_visits
                visited += edge_visits > 0
                q_total += q[b, node, a]  # 0 where unvisited
            if depth == 0:
                mean_q = q_total / np.float32(max(visited, 1))
            else:
                mean_q = (mean_q + q_total) / np.float32(visited + 1)

            spread = exploration[_index(total_visits)]
            best = _index(0)
            best_score = -_INFINITY
            for a in range(actions):
                edge_visits = visits[b, node, a]
                value = q[b, node, a]
                value = value if edge_visits > 0 else mean_q
                if normalises:
                    value = (value - least) / width
                value = min(max(value, _ZERO), _ONE)
                score[a] = prior[b, node, a] * spread / np.float32(edge_visits + 1) + value
                if score[a] > best_score:
                    best = a
                    best_score = score[a]
            depth += 1
            if tie_seed >= 0:
                best = _index(_random_tie(score, best_score - _TIE_WIDTH, tie_seed, np.int64(b), simulation, depth))
            if child[b, node, best] < 0:
                break
            node = _index(child[b, node, best])

        parent[b, leaf] = node
        parent_action[b, leaf] = best
        leaf_action[simulation, b] = best
        parent_row[b] = node * batch + b
        reset[b] = horizon > 0 and depth % horizon == 0


@numba.njit
def _random_tie(score, floor, seed, root, simulation, depth):
    """One of the scores of at least `floor`, by the draw of this root, simulation and depth."""
    tied = 0
    for a in range(score.shape[0]):
        tied += score[a] >= floor
    if tied < 2:
        return np.argmax(score)
    nth = (_absorb(_absorb(_absorb(seed, root), simulation), depth) * tied) >> 32
    for a in range(score.shape[0]):
        nth -= score[a] >= floor
        if nth < 0:
            return a
    return 0
