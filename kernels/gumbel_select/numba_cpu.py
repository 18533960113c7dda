"""gumbel_select on the CPU: one root after the other, each from its root node to its leaf."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np

from kernels.tree import Tree

if TYPE_CHECKING:
    from kernels.gumbel_select import GumbelRule, Select

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_LOWEST = np.float32(-np.inf)
_TINY = np.finfo(np.float32).tiny
_RESCALE_EPSILON = np.float32(1e-8)


def bind(tree: Tree, rule: GumbelRule) -> Select:
    """The operation on `tree`, whose arrays are viewed once instead of at every simulation."""
    arrays = tree.numpy()
    edges = [arrays[name] for name in ("prior", "logit", "q", "visits", "child")]
    leaf = [arrays[name] for name in ("parent", "parent_action", "action", "parent_row", "reset")]
    views = (*edges, arrays["value"], *leaf, rule.gumbel.contiguous().numpy())
    considered = [int(visits) for visits in rule.considered_visits]
    c_visit, c_scale, horizon = float(rule.c_visit), float(rule.c_scale), int(rule.prefix_horizon)

    def gumbel_select(simulation):
        _gumbel_select(*views, simulation, considered[simulation], c_visit, c_scale, horizon)

    return gumbel_select


@numba.njit(cache=True, error_model="numpy")
def _gumbel_select(
    prior, logit, q, visits, child, value, parent, parent_action, leaf_action, parent_row, reset, gumbel,
    simulation, considered, c_visit, c_scale, horizon,
):  # fmt: skip
    batch, _, actions = prior.shape
    c_visit = np.float32(c_visit)
    c_scale = np.float32(c_scale)
    score = np.empty(actions, np.float32)
    leaf = simulation + 1
    for b in range(batch):
        node = np.int32(0)
        depth = 0
        while True:
            total_visits = 0
            most_visits = 0
            mass = _ZERO
            weighted_q = _ZERO
            for a in range(actions):
                edge_visits = visits[b, node, a]
                if edge_visits > 0:
                    total_visits += edge_visits
                    most_visits = max(most_visits, edge_visits)
                    weight = max(prior[b, node, a], _TINY)
                    mass += weight
                    weighted_q += weight * q[b, node, a]
            if total_visits > 0:
                weighted_q /= mass
            visit_total = np.float32(total_visits)
            mixed = (value[b, node] + visit_total * weighted_q) / (_ONE + visit_total)

            least = np.float32(np.inf)
            largest = _LOWEST
            for a in range(actions):
                score[a] = q[b, node, a] if visits[b, node, a] > 0 else mixed
                least = min(least, score[a])
                largest = max(largest, score[a])
            width = max(largest - least, _RESCALE_EPSILON)
            scale = (c_visit + np.float32(most_visits)) * c_scale
            highest = _LOWEST
            for a in range(actions):
                score[a] = scale * ((score[a] - least) / width)
                highest = max(highest, logit[b, node, a])

            best = 0
            best_score = _LOWEST
            if depth == 0:
                for a in range(actions):
                    candidate = gumbel[b, a] + (logit[b, node, a] - highest) + score[a]
                    if visits[b, node, a] == considered and candidate > best_score:
                        best = a
                        best_score = candidate
            else:
                highest = _LOWEST
                for a in range(actions):
                    score[a] += logit[b, node, a]
                    highest = max(highest, score[a])
                total = _ZERO
                for a in range(actions):
                    score[a] = math.exp(score[a] - highest)
                    total += score[a]
                for a in range(actions):
                    candidate = score[a] / total - np.float32(visits[b, node, a]) / (_ONE + visit_total)
                    if candidate > best_score:
                        best = a
                        best_score = candidate
            depth += 1
            if child[b, node, best] < 0:
                break
            node = child[b, node, best]

        parent[b, leaf] = node
        parent_action[b, leaf] = best
        leaf_action[simulation, b] = best
        parent_row[b] = np.int64(node) * batch + b
        reset[b] = horizon > 0 and depth % horizon == 0
