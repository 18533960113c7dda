"""gumbel_select on the CPU: decisions in lanes, then a walk that only follows them.

Below the root a node's choice depends on that node alone, and only the nodes on a root's last path have changed. So
each call first decides anew for those, many nodes side by side: their edges are gathered into lanes [A, LANES], and
every loop runs over lanes, which the compiler turns into vector instructions. Sums go over the actions from the lowest
index up, as in the reference. Then every root's walk follows the stored choices to its leaf.

Axes: B roots, N nodes, A actions, m lanes. A node's row is root * N + node, an edge's is its node's row * A + action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from kernels.fast_exp import exp_of_negative
from kernels.tree import NO_CHILD, Tree

if TYPE_CHECKING:
    from kernels.gumbel_select import GumbelRule, Select

LANES = 240  # not a power of two: the lanes of different actions would share the same cache sets
_PRIOR, _Q, _VISITS = range(3)  # edge lanes [3, A, LANES] float32
_VALUE, _TOTAL_VISITS, _MOST_VISITS, _MASS, _MIXED, _LEAST, _LARGEST, _FACTOR, _SCORE = range(9)  # node lanes
_ROW, _BEST = range(2)  # of the integer lanes [2, LANES]
_ACTION, _CHILD = range(2)  # a node's choice [2, B * N] int32: the action, and the child that it leads to if any

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_INFINITY = np.float32(np.inf)
_TINY = np.finfo(np.float32).tiny
_RESCALE_EPSILON = np.float32(1e-8)


def bind(tree: Tree, rule: GumbelRule) -> Select:
    """The operation on `tree`, whose arrays are viewed once instead of at every simulation."""
    arrays = tree.numpy()
    batch, nodes, actions = tree.prior.shape
    edges = [arrays[name].reshape(-1) for name in ("prior", "q", "visits", "child")]
    leaf = [arrays[name] for name in ("value", "parent", "parent_action", "action", "parent_row", "reset")]
    choice = np.empty((2, batch * nodes), np.int32)
    gumbel_logit = (rule.gumbel + rule.logit).T.contiguous().numpy()
    edge_lanes = np.empty((3, actions, LANES), np.float32)
    node_lanes = np.empty((9, LANES), np.float32)
    row_lanes = np.empty((2, LANES), np.int32)
    views = (*edges, *leaf, choice, gumbel_logit, edge_lanes, node_lanes, row_lanes)
    considered = [int(visits) for visits in rule.considered_visits]
    c_visit, c_scale, horizon = float(rule.c_visit), float(rule.c_scale), int(rule.prefix_horizon)

    def gumbel_select(simulation):
        _gumbel_select(*views, simulation, considered[simulation], c_visit, c_scale, horizon)

    return gumbel_select


@numba.njit(cache=True, error_model="numpy")
def _gumbel_select(
    prior, q, visits, child, value, parent, parent_action, leaf_action, parent_row, reset, choice, gumbel_logit,
    edge_lanes, node_lanes, row_lanes, simulation, considered, c_visit, c_scale, horizon,
):  # fmt: skip
    edges = prior, q, visits, child
    lanes = edge_lanes, node_lanes, row_lanes
    scale = np.float32(c_visit), np.float32(c_scale)
    _decide_paths(edges, value, parent, lanes, choice, simulation, scale)
    _decide_roots(edges, value, lanes, choice, gumbel_logit, np.float32(considered), scale)

    batch, nodes = parent.shape
    leaf = simulation + 1
    for b in range(batch):
        root_row = b * nodes
        row = root_row
        depth = 1
        while choice[_CHILD, row] >= 0:
            row = root_row + choice[_CHILD, row]
            depth += 1
        parent[b, leaf] = row - root_row
        parent_action[b, leaf] = choice[_ACTION, row]
        leaf_action[simulation, b] = choice[_ACTION, row]
        parent_row[b] = (row - root_row) * batch + b
        reset[b] = horizon > 0 and depth % horizon == 0


@numba.njit(error_model="numpy")
def _decide_paths(edges, value, parent, lanes, choice, last, scale):
    """Choices of the nodes from each root's last leaf up to below the root. The leaf's is its largest prior."""
    batch, nodes = parent.shape
    prior = edges[0]
    node_lanes, row_lanes = lanes[1], lanes[2]
    actions = lanes[0].shape[1]
    used = 0
    for b in range(batch if last > 0 else 0):
        row = b * nodes + last
        best = 0
        for a in range(1, actions):
            if prior[row * actions + a] > prior[row * actions + best]:
                best = a
        choice[_ACTION, row] = best
        choice[_CHILD, row] = NO_CHILD
        node = parent[b, last]
        while node > 0:
            row_lanes[_ROW, used] = b * nodes + node
            node_lanes[_VALUE, used] = value[b, node]
            node = parent[b, node]
            used += 1
            if used == LANES:
                _decide_below(edges, lanes, choice, used, scale)
                used = 0
    _decide_below(edges, lanes, choice, used, scale)


@numba.njit(error_model="numpy")
def _decide_below(edges, lanes, choice, used, scale):
    """argmax of improved policy - visits / (1 + T), the improved policy being prior * exp(sigma) over its sum.

    Both terms are multiplied by that sum.
    """
    _complete(edges, lanes, used, scale)
    edge_lanes, node_lanes, row_lanes = lanes
    prior, q, visits = edge_lanes[_PRIOR], edge_lanes[_Q], edge_lanes[_VISITS]
    total_visits, largest, factor = node_lanes[_TOTAL_VISITS], node_lanes[_LARGEST], node_lanes[_FACTOR]
    total, best_score, best = node_lanes[_MASS], node_lanes[_SCORE], row_lanes[_BEST]
    for m in range(used):
        total[m] = _ZERO
        best_score[m] = -_INFINITY
        best[m] = 0
    for a in range(prior.shape[0]):
        for m in range(used):
            weight = prior[a, m] * exp_of_negative((q[a, m] - largest[m]) * factor[m])
            prior[a, m] = weight
            total[m] += weight
    for m in range(used):
        total[m] /= _ONE + total_visits[m]
    for a in range(prior.shape[0]):
        for m in range(used):
            score = prior[a, m] - visits[a, m] * total[m]
            score_so_far, best_so_far = best_score[m], best[m]
            better = score > score_so_far
            best_score[m] = score if better else score_so_far
            best[m] = a if better else best_so_far
    _store(edges, lanes, choice, used)


@numba.njit(error_model="numpy")
def _decide_roots(edges, value, lanes, choice, gumbel_logit, considered, scale):
    """argmax of gumbel + logits + sigma over the actions visited `considered` times."""
    edge_lanes, node_lanes, row_lanes = lanes
    q, visits = edge_lanes[_Q], edge_lanes[_VISITS]
    least, factor = node_lanes[_LEAST], node_lanes[_FACTOR]
    best_score, best = node_lanes[_SCORE], row_lanes[_BEST]
    batch, nodes = value.shape
    for first in range(0, batch, LANES):
        used = min(LANES, batch - first)
        for m in range(used):
            row_lanes[_ROW, m] = (first + m) * nodes
            node_lanes[_VALUE, m] = value[first + m, 0]
        _complete(edges, lanes, used, scale)
        for m in range(used):
            best_score[m] = -_INFINITY
            best[m] = 0
        for a in range(q.shape[0]):
            for m in range(used):
                score = gumbel_logit[a, first + m] + (q[a, m] - least[m]) * factor[m]
                score_so_far, best_so_far = best_score[m], best[m]
                better = (score > score_so_far) & (visits[a, m] == considered)
                best_score[m] = score if better else score_so_far
                best[m] = a if better else best_so_far
        _store(edges, lanes, choice, used)


@numba.njit(error_model="numpy")
def _complete(edges, lanes, used, scale):
    """Bring edges into the lanes, q completed; find its extremes and the factor from their difference to sigma."""
    edge_lanes, node_lanes, row_lanes = lanes
    prior, q, visits = edge_lanes[_PRIOR], edge_lanes[_Q], edge_lanes[_VISITS]
    total_visits, most_visits = node_lanes[_TOTAL_VISITS], node_lanes[_MOST_VISITS]
    mass, mixed, value = node_lanes[_MASS], node_lanes[_MIXED], node_lanes[_VALUE]
    least, largest, factor = node_lanes[_LEAST], node_lanes[_LARGEST], node_lanes[_FACTOR]
    c_visit, c_scale = scale
    _gather(edges, prior, q, visits, row_lanes[_ROW], used)
    for m in range(used):
        total_visits[m] = _ZERO
        most_visits[m] = _ZERO
        mass[m] = _ZERO
        mixed[m] = _ZERO
    for a in range(prior.shape[0]):
        for m in range(used):
            total_visits[m] += visits[a, m]
            most_visits[m] = max(most_visits[m], visits[a, m])
        for m in range(used):
            weight = max(prior[a, m], _TINY)
            weight = weight if visits[a, m] > _ZERO else _ZERO
            mass[m] += weight
            mixed[m] += weight * q[a, m]
    for m in range(used):
        visited_mass = mass[m]
        weighted_q = mixed[m] / (visited_mass if visited_mass > _ZERO else _ONE)
        mixed[m] = (value[m] + total_visits[m] * weighted_q) / (_ONE + total_visits[m])
    for m in range(used):
        least[m] = _INFINITY
        largest[m] = -_INFINITY
    for a in range(prior.shape[0]):
        for m in range(used):
            own, otherwise = q[a, m], mixed[m]
            completed = own if visits[a, m] > _ZERO else otherwise
            q[a, m] = completed
            least[m] = min(least[m], completed)
            largest[m] = max(largest[m], completed)
    for m in range(used):
        factor[m] = (c_visit + most_visits[m]) * c_scale / max(largest[m] - least[m], _RESCALE_EPSILON)


@numba.njit(error_model="numpy")
def _gather(edges, prior_lanes, q_lanes, visit_lanes, rows, used):
    """Copy the edges of the nodes in `rows` into lanes."""
    prior, q, visits, _ = edges
    actions = prior_lanes.shape[0]
    for a in range(actions):
        for m in range(used):
            prior_lanes[a, m] = prior[rows[m] * actions + a]
        for m in range(used):
            q_lanes[a, m] = q[rows[m] * actions + a]
        for m in range(used):
            visit_lanes[a, m] = np.float32(visits[rows[m] * actions + a])


@numba.njit(error_model="numpy")
def _store(edges, lanes, choice, used):
    """Note each node's choice."""
    child, row_lanes = edges[3], lanes[2]
    actions = lanes[0].shape[1]
    for m in range(used):
        row, best = row_lanes[_ROW, m], row_lanes[_BEST, m]
        choice[_ACTION, row] = best
        choice[_CHILD, row] = child[row * actions + best]
