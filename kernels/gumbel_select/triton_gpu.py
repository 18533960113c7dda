"""gumbel_select on the GPU: one program per root, from its root node to its leaf.

Axes: B roots, N nodes, A actions, S simulations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from kernels.tree import Tree
from kernels.triton_tree import (
    CHILD,
    LAUNCH,
    PRIOR,
    VALUE,
    VISITS,
    Q,
    best_action,
    lanes,
    of_root,
    ordered_sum,
    tree_arguments,
    write_leaf,
)

if TYPE_CHECKING:
    from kernels.gumbel_select import GumbelRule

_TINY = tl.constexpr(torch.finfo(torch.float32).tiny)


def bind(tree: Tree, rule: GumbelRule) -> tuple[Callable[[torch.Tensor], None], Callable[[], torch.Tensor]]:
    """select and root_sigma on `tree`."""
    _, batch, _, actions = tree.edges.shape
    of_tree, of_rule, of_lanes = tree_arguments(tree), rule_arguments(tree, rule), lanes(actions)

    def gumbel_select(simulation: torch.Tensor) -> None:
        _gumbel_select[(batch,)](
            simulation, *of_tree, *of_rule, **of_lanes, PREFIX_HORIZON=rule.prefix_horizon, **LAUNCH
        )

    def root_sigma() -> torch.Tensor:
        sigma = torch.empty((batch, actions), device=tree.edges.device)
        _root_sigma[(batch,)](sigma, *of_tree, *_scale_arguments(rule), **of_lanes, **LAUNCH)
        return sigma

    return gumbel_select, root_sigma


def rule_arguments(tree: Tree, rule: GumbelRule) -> tuple[Any, ...]:
    """The rule as kernel arguments: gumbel_logit, considered_visits, c_visit, c_scale and min_q_range."""
    considered = torch.tensor(rule.considered_visits, dtype=torch.int32, device=tree.edges.device)
    return rule.gumbel_logit, considered, *_scale_arguments(rule)


def _scale_arguments(rule: GumbelRule) -> tuple[float, float, float]:
    return float(rule.c_visit), float(rule.c_scale), float(rule.min_q_range)


@triton.jit(do_not_specialize=["batch", "nodes"])
def _gumbel_select(
    simulation, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes,
    gumbel_logit, considered_visits, c_visit, c_scale, min_q_range,
    A: tl.constexpr, A_PAD: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    select_root(
        tl.load(simulation), edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset,
        batch, nodes, gumbel_logit, considered_visits, c_visit, c_scale, min_q_range, A, A_PAD, PREFIX_HORIZON,
    )  # fmt: skip


@triton.jit
def select_root(
    simulation, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes,
    gumbel_logit, considered_visits, c_visit, c_scale, min_q_range,
    A: tl.constexpr, A_PAD: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    """Select a leaf for this program's root. simulation: its number."""
    root = tl.program_id(0).to(tl.int64)
    prior = of_root(edge_floats, PRIOR, root, batch, nodes * A)
    q = of_root(edge_floats, Q, root, batch, nodes * A)
    visits = of_root(edge_ints, VISITS, root, batch, nodes * A)
    children = of_root(edge_ints, CHILD, root, batch, nodes * A)
    values = of_root(node_floats, VALUE, root, batch, nodes)
    lane = tl.arange(0, A_PAD)

    # The root: among the actions that sequential halving considers.
    sigma, _, edge_visits = _completed_sigma(prior, q, visits, values, 0, c_visit, c_scale, min_q_range, A, A_PAD)
    noisy_logit = tl.load(gumbel_logit + root * A + lane, lane < A, 0.0)
    is_considered = edge_visits == tl.load(considered_visits + simulation)
    action = best_action(tl.where(is_considered, noisy_logit + sigma, float("-inf")), A)
    node = 0
    depth = 1
    child = tl.load(children + action)

    # Below: visits in proportion to the improved policy.
    while child >= 0:
        node = child
        sigma, edge_prior, edge_visits = _completed_sigma(
            prior, q, visits, values, node, c_visit, c_scale, min_q_range, A, A_PAD
        )
        weight = edge_prior * tl.exp(sigma - tl.max(sigma))
        share = tl.div_rn(ordered_sum(weight, A), 1.0 + tl.sum(edge_visits).to(tl.float32))
        score = weight - edge_visits.to(tl.float32) * share
        action = best_action(tl.where(lane < A, score, float("-inf")), A)
        depth += 1
        child = tl.load(children + node * A + action)
    write_leaf(
        root, simulation, node, action, depth, node_ints, leaf_action, parent_row, reset, batch, nodes, PREFIX_HORIZON
    )


@triton.jit
def _completed_sigma(
    prior, q, visits, values, node, c_visit, c_scale, min_q_range, A: tl.constexpr, A_PAD: tl.constexpr
):
    """sigma of a node's completed q with its priors and visits; -inf, 0 and 0 in the lanes beyond A.

    prior, q, visits, values: pointers to the start of this program's root.
    """
    lane = tl.arange(0, A_PAD)
    is_action = lane < A
    edge = node * A + lane
    edge_prior = tl.load(prior + edge, is_action, 0.0)
    edge_q = tl.load(q + edge, is_action, 0.0)
    edge_visits = tl.load(visits + edge, is_action, 0)
    is_visited = edge_visits > 0
    total_visits = tl.sum(edge_visits).to(tl.float32)

    known = tl.where(is_visited, tl.maximum(edge_prior, _TINY), 0.0)
    mass = ordered_sum(known, A)
    weighted_q = tl.div_rn(ordered_sum(known * edge_q, A), tl.where(mass > 0.0, mass, 1.0))
    mixed = tl.div_rn(tl.load(values + node) + total_visits * weighted_q, 1.0 + total_visits)

    completed = tl.where(is_visited, edge_q, mixed)
    least = tl.min(tl.where(is_action, completed, float("inf")))
    largest = tl.max(tl.where(is_action, completed, float("-inf")))
    scale = (c_visit + tl.max(edge_visits).to(tl.float32)) * c_scale
    sigma = (completed - least) * tl.div_rn(scale, tl.maximum(largest - least, min_q_range))
    return tl.where(is_action, sigma, float("-inf")), edge_prior, edge_visits


@triton.jit(do_not_specialize=["batch", "nodes"])
def _root_sigma(
    sigma, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes,
    c_visit, c_scale, min_q_range, A: tl.constexpr, A_PAD: tl.constexpr,
):  # fmt: skip
    root = tl.program_id(0).to(tl.int64)
    prior = of_root(edge_floats, PRIOR, root, batch, nodes * A)
    q = of_root(edge_floats, Q, root, batch, nodes * A)
    visits = of_root(edge_ints, VISITS, root, batch, nodes * A)
    values = of_root(node_floats, VALUE, root, batch, nodes)
    of_actions, _, _ = _completed_sigma(prior, q, visits, values, 0, c_visit, c_scale, min_q_range, A, A_PAD)
    lane = tl.arange(0, A_PAD)
    tl.store(sigma + root * A + lane, of_actions, lane < A)
