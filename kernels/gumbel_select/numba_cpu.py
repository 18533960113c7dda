"""gumbel_select on the CPU: vectorised decisions, then a walk that follows them.

Below the root a node's choice depends only on that node, and only nodes on a root's last path have changed. So each
call first updates the choices of those, many nodes at a time: their edges are gathered into lanes [A, LANES], and every
loop over lanes is vectorised by the compiler. Sums go over the actions from the lowest index up, as in the reference.
Then every root's walk follows the stored choices to its leaf and records its path.

Axes: B roots, N nodes, A actions, m lanes. A node's row is root * N + node, an edge's is its node's row * A + action.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numba
import numpy as np
import torch

from kernels.fast_exp import exp_of_negative
from kernels.tree import CHILD, NO_CHILD, PARENT, PARENT_ACTION, PRIOR, VALUE, VISITS, Q, Tree

if TYPE_CHECKING:
    from kernels.gumbel_select import GumbelRule

LANES = 240  # not a power of two, with which the lanes of different actions would share cache sets
_PRIOR, _Q, _VISITS = range(3)  # edge lanes [3, A, LANES] float32
_VALUE, _TOTAL_VISITS, _MOST_VISITS, _MASS, _MIXED, _LEAST, _LARGEST, _FACTOR, _SCORE = range(9)  # node lanes
_ROW, _BEST = range(2)  # of the integer lanes [2, LANES]
_ACTION, _CHILD = range(2)  # a node's choice [2, B * N] int32: the action, and its child if any

_index = np.uint64  # for signed indices numba adds a noticeably slow check for negative values
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_INFINITY = np.float32(np.inf)
_TINY = np.finfo(np.float32).tiny


def bind(tree: Tree, rule: GumbelRule) -> tuple[Callable[[int], None], Callable[[], torch.Tensor]]:
    """select and root_sigma on `tree`, with array views made once instead of at every simulation."""
    arrays = tree.arrays
    batch, nodes, actions = tree.prior.shape
    trees = arrays.edge_floats, arrays.edge_ints, arrays.node_floats
    leaf = arrays.node_ints, arrays.action, arrays.parent_row, arrays.reset
    choice = np.empty((2, batch * nodes), np.int32)
    path = np.empty(batch * nodes, np.int32)
    path_nodes = 0
    gumbel_logit = rule.gumbel_logit.T.contiguous().numpy()
    lanes = np.empty((3, actions, LANES), np.float32), np.empty((9, LANES), np.float32), np.empty((2, LANES), np.int32)
    views = (*trees, *leaf, choice, path, gumbel_logit, *lanes)
    scale = float(rule.c_visit), float(rule.c_scale), float(rule.min_q_range)
    horizon = int(rule.prefix_horizon)

    def gumbel_select(simulation):
        nonlocal path_nodes
        path_nodes = _gumbel_select(*views, path_nodes, simulation, rule.considered_visits[simulation], *scale, horizon)

    def root_sigma():
        sigma = torch.empty(batch, actions)
        _root_sigma(*trees, *lanes, *scale, sigma.numpy())
        return sigma

    return gumbel_select, root_sigma


@numba.njit(cache=True, error_model="numpy")
def _gumbel_select(
    edge_floats, edge_ints, node_floats, node_ints, leaf_action, parent_row, reset, choice, path, gumbel_logit,
    edge_lanes, node_lanes, row_lanes, path_nodes, simulation, considered, c_visit, c_scale, min_q_range, horizon,
):  # fmt: skip
    """Writes the rows of all nodes between roots and leaves to `path`; returns their count."""
    parent, parent_action = node_ints[PARENT], node_ints[PARENT_ACTION]
    edges = _flat_edges(edge_floats, edge_ints, node_floats)
    lanes = edge_lanes, node_lanes, row_lanes
    scale = np.float32(c_visit), np.float32(c_scale), np.float32(min_q_range)
    batch, nodes = _index(parent.shape[0]), _index(parent.shape[1])
    if simulation > 0:
        _decide_leaves(edges[0], choice, batch, _index(simulation), edge_lanes.shape[1])
        _decide_below(edges, lanes, choice, path[:path_nodes], scale)
    _decide_roots(edges, lanes, choice, gumbel_logit, nodes, np.float32(considered), scale)

    leaf = _index(simulation + 1)
    passed = _index(0)
    for b in range(batch):
        root_row = b * nodes
        row = root_row
        depth = 1
        while choice[_CHILD, row] >= 0:
            row = root_row + _index(choice[_CHILD, row])
            path[passed] = row
            passed += _index(1)
            depth += 1
        parent[b, leaf] = row - root_row
        parent_action[b, leaf] = choice[_ACTION, row]
        leaf_action[simulation, b] = choice[_ACTION, row]
        parent_row[b] = (row - root_row) * batch + b
        reset[b] = horizon > 0 and depth % horizon == 0
    return np.int64(passed)


@numba.njit(error_model="numpy")
def _flat_edges(edge_floats, edge_ints, node_floats):
    """prior, q, visits, child by edge row (node row * A + action), and the network's value by node row."""
    return (
        edge_floats[PRIOR].reshape(-1),
        edge_floats[Q].reshape(-1),
        edge_ints[VISITS].reshape(-1),
        edge_ints[CHILD].reshape(-1),
        node_floats[VALUE].reshape(-1),
    )


@numba.njit(error_model="numpy")
def _decide_leaves(prior, choice, batch, last, actions):
    """The largest prior of each root's newest node, which has no visits yet."""
    nodes = _index(choice.shape[1]) // batch
    for b in range(batch):
        row = b * nodes + last
        first_edge = row * _index(actions)
        best = np.int32(0)
        largest = prior[first_edge]
        for a in range(_index(1), _index(actions)):
            candidate = prior[first_edge + a]
            best = np.int32(a) if candidate > largest else best
            largest = max(largest, candidate)
        choice[_ACTION, row] = best
        choice[_CHILD, row] = NO_CHILD


@numba.njit(error_model="numpy")
def _decide_below(edges, lanes, choice, rows, scale):
    """argmax of improved policy - visits / (1 + T), both terms multiplied by the sum of prior * exp(sigma)."""
    edge_lanes, node_lanes, row_lanes = lanes
    prior, q, visits = edge_lanes[_PRIOR], edge_lanes[_Q], edge_lanes[_VISITS]
    total_visits, largest, factor = node_lanes[_TOTAL_VISITS], node_lanes[_LARGEST], node_lanes[_FACTOR]
    total, best_score, best = node_lanes[_MASS], node_lanes[_SCORE], row_lanes[_BEST]
    for first in range(_index(0), _index(rows.shape[0]), _index(LANES)):
        used = min(_index(LANES), _index(rows.shape[0]) - first)
        for m in range(used):
            row_lanes[_ROW, m] = rows[first + m]
        _complete(edges, lanes, used, scale)
        for m in range(used):
            total[m] = _ZERO
            best_score[m] = -_INFINITY
            best[m] = 0
        for a in range(_index(prior.shape[0])):
            for m in range(used):
                weight = prior[a, m] * exp_of_negative((q[a, m] - largest[m]) * factor[m])
                prior[a, m] = weight
                total[m] += weight
        for m in range(used):
            total[m] /= _ONE + total_visits[m]
        for a in range(_index(prior.shape[0])):
            for m in range(used):
                score = prior[a, m] - visits[a, m] * total[m]
                score_so_far, best_so_far = best_score[m], best[m]
                better = score > score_so_far
                best_score[m] = score if better else score_so_far
                best[m] = np.int32(a) if better else best_so_far
        _store(edges, lanes, choice, used)


@numba.njit(error_model="numpy")
def _decide_roots(edges, lanes, choice, gumbel_logit, nodes, considered, scale):
    """argmax of gumbel + logits + sigma over the actions visited `considered` times."""
    edge_lanes, node_lanes, row_lanes = lanes
    q, visits = edge_lanes[_Q], edge_lanes[_VISITS]
    least, factor = node_lanes[_LEAST], node_lanes[_FACTOR]
    best_score, best = node_lanes[_SCORE], row_lanes[_BEST]
    batch = _index(gumbel_logit.shape[1])
    for first in range(_index(0), batch, _index(LANES)):
        used = min(_index(LANES), batch - first)
        for m in range(used):
            row_lanes[_ROW, m] = (first + m) * nodes
        _complete(edges, lanes, used, scale)
        for m in range(used):
            best_score[m] = -_INFINITY
            best[m] = 0
        for a in range(_index(q.shape[0])):
            for m in range(used):
                score = gumbel_logit[a, first + m] + (q[a, m] - least[m]) * factor[m]
                score_so_far, best_so_far = best_score[m], best[m]
                better = (score > score_so_far) & (visits[a, m] == considered)
                best_score[m] = score if better else score_so_far
                best[m] = np.int32(a) if better else best_so_far
        _store(edges, lanes, choice, used)


@numba.njit(cache=True, error_model="numpy")
def _root_sigma(
    edge_floats, edge_ints, node_floats, edge_lanes, node_lanes, row_lanes, c_visit, c_scale, min_q_range, sigma
):  # fmt: skip
    edges = _flat_edges(edge_floats, edge_ints, node_floats)
    lanes = edge_lanes, node_lanes, row_lanes
    batch, actions = _index(sigma.shape[0]), _index(sigma.shape[1])
    nodes = _index(node_floats.shape[2])
    for first in range(_index(0), batch, _index(LANES)):
        used = min(_index(LANES), batch - first)
        for m in range(used):
            row_lanes[_ROW, m] = (first + m) * nodes
        _complete(edges, lanes, used, (np.float32(c_visit), np.float32(c_scale), np.float32(min_q_range)))
        for a in range(actions):
            for m in range(used):
                above_least = edge_lanes[_Q, a, m] - node_lanes[_LEAST, m]
                sigma[first + m, a] = above_least * node_lanes[_FACTOR, m]


@numba.njit(error_model="numpy")
def _complete(edges, lanes, used, scale):
    """Gather edges into the lanes and complete q; compute its extremes and the factor from differences to sigma."""
    edge_lanes, node_lanes, row_lanes = lanes
    prior, q, visits = edge_lanes[_PRIOR], edge_lanes[_Q], edge_lanes[_VISITS]
    total_visits, most_visits = node_lanes[_TOTAL_VISITS], node_lanes[_MOST_VISITS]
    mass, mixed, value = node_lanes[_MASS], node_lanes[_MIXED], node_lanes[_VALUE]
    least, largest, factor = node_lanes[_LEAST], node_lanes[_LARGEST], node_lanes[_FACTOR]
    c_visit, c_scale, min_q_range = scale
    _gather(edges, prior, q, visits, value, row_lanes[_ROW], used)
    for m in range(used):
        total_visits[m] = _ZERO
        most_visits[m] = _ZERO
        mass[m] = _ZERO
        mixed[m] = _ZERO
    for a in range(_index(prior.shape[0])):
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
    for a in range(_index(prior.shape[0])):
        for m in range(used):
            own, otherwise = q[a, m], mixed[m]
            completed = own if visits[a, m] > _ZERO else otherwise
            q[a, m] = completed
            least[m] = min(least[m], completed)
            largest[m] = max(largest[m], completed)
    for m in range(used):
        factor[m] = (c_visit + most_visits[m]) * c_scale / max(largest[m] - least[m], min_q_range)


@numba.njit(error_model="numpy")
def _gather(edges, prior_lanes, q_lanes, visit_lanes, value_lanes, rows, used):
    """Copy the inputs of the choices of the nodes in `rows` into lanes."""
    prior, q, visits, _, value = edges
    actions = _index(prior_lanes.shape[0])
    for a in range(actions):
        for m in range(used):
            edge = _index(rows[m]) * actions + a
            prior_lanes[a, m] = prior[edge]
            q_lanes[a, m] = q[edge]
            visit_lanes[a, m] = np.float32(visits[edge])
    for m in range(used):
        value_lanes[m] = value[_index(rows[m])]


@numba.njit(error_model="numpy")
def _store(edges, lanes, choice, used):
    """Store each node's choice."""
    child, row_lanes = edges[3], lanes[2]
    actions = _index(lanes[0].shape[1])
    for m in range(used):
        row, best = _index(row_lanes[_ROW, m]), _index(row_lanes[_BEST, m])
        choice[_ACTION, row] = best
        choice[_CHILD, row] = child[row * actions + best]
