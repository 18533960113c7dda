"""puct_select on the GPU: one program per root, from its root node to its leaf.

Axes: B roots, N nodes, A actions, S simulations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from kernels.tree import Tree
from kernels.triton_tree import (
    CHILD,
    LAUNCH,
    PRIOR,
    Q_MAX,
    Q_MIN,
    VISITS,
    Q,
    best_action,
    lanes,
    of_root,
    ordered_sum,
    pick,
    tree_arguments,
    write_leaf,
)

if TYPE_CHECKING:
    from kernels.puct_select import PuctRule, Select

_TIE_WIDTH = tl.constexpr(1e-6)


def bind(tree: Tree, rule: PuctRule) -> Select:
    """The operation on `tree`."""
    _, batch, _, actions = tree.edges.shape
    arguments = *tree_arguments(tree), *rule_arguments(tree, rule)
    constants = {**lanes(actions), "PREFIX_HORIZON": rule.prefix_horizon}

    def puct_select(simulation: torch.Tensor) -> None:
        _puct_select[(batch,)](simulation, *arguments, **constants, **LAUNCH)

    return puct_select


def rule_arguments(tree: Tree, rule: PuctRule) -> tuple[Any, ...]:
    """The rule as kernel arguments: exploration, tie_seed (or None) and value_delta_max."""
    seed = rule.tie_seed
    if isinstance(seed, int):
        seed = torch.full((1,), seed, dtype=torch.int64, device=tree.edges.device)
    return rule.exploration, seed, float(rule.value_delta_max)


@triton.jit(do_not_specialize=["batch", "nodes"])
def _puct_select(
    simulation, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes,
    exploration, tie_seed, value_delta_max,
    A: tl.constexpr, A_PAD: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    select_root(
        tl.load(simulation), edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset,
        batch, nodes, exploration, tie_seed, value_delta_max, A, A_PAD, PREFIX_HORIZON,
    )  # fmt: skip


@triton.jit
def select_root(
    simulation, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes,
    exploration, tie_seed, value_delta_max,
    A: tl.constexpr, A_PAD: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    """Select a leaf for this program's root. simulation: its number; tie_seed: None for ties to the lowest index."""
    root = tl.program_id(0).to(tl.int64)
    prior = of_root(edge_floats, PRIOR, root, batch, nodes * A)
    q = of_root(edge_floats, Q, root, batch, nodes * A)
    visits = of_root(edge_ints, VISITS, root, batch, nodes * A)
    children = of_root(edge_ints, CHILD, root, batch, nodes * A)
    least = tl.load(of_root(roots, Q_MIN, root, batch, 1))
    largest = tl.load(of_root(roots, Q_MAX, root, batch, 1))
    width = tl.maximum(largest - least, value_delta_max)
    lane = tl.arange(0, A_PAD)
    is_action = lane < A

    node = 0
    action = 0
    depth = 0
    child = 0  # the next node; first the root
    mean_q = tl.zeros([A_PAD], tl.float32)  # of the parent, in every lane
    while child >= 0:
        node = child
        edge = node * A + lane
        edge_prior = tl.load(prior + edge, is_action, 0.0)
        edge_q = tl.load(q + edge, is_action, 0.0)  # 0 where unvisited
        edge_visits = tl.load(visits + edge, is_action, 0)
        is_visited = edge_visits > 0
        has_parent = tl.minimum(depth, 1)  # the parent's mean q counts as one more child
        num_known = tl.sum(is_visited.to(tl.int32)) + has_parent
        mean_q = tl.div_rn(mean_q + ordered_sum(edge_q, A), tl.maximum(num_known, 1).to(tl.float32))

        spread = tl.load(exploration + tl.sum(edge_visits))
        value = tl.where(is_visited, edge_q, mean_q)
        value = tl.where(largest > least, tl.div_rn(value - least, width), value)
        value = tl.minimum(tl.maximum(value, 0.0), 1.0)
        score = tl.div_rn(edge_prior * spread, (edge_visits + 1).to(tl.float32)) + value
        score = tl.where(is_action, score, float("-inf"))

        depth += 1
        if tie_seed is None:
            action = best_action(score, A)
        else:
            action = _random_tie(score, is_action, tl.load(tie_seed), root, simulation, depth)
        child = tl.load(children + node * A + action)
    write_leaf(
        root, simulation, node, action, depth, node_ints, leaf_action, parent_row, reset, batch, nodes, PREFIX_HORIZON
    )


@triton.jit
def _random_tie(score, is_action, seed, root, simulation, depth):
    """One of the scores within _TIE_WIDTH of the largest, by the draw of this root, simulation and depth.

    Always an action's lane: the first if all scores are NaN.
    """
    is_tied = (is_action & (score >= tl.max(score) - _TIE_WIDTH)).to(tl.int32)
    nth = pick(seed, root, simulation, depth, tl.sum(is_tied))
    is_picked = (is_tied > 0) & (tl.cumsum(is_tied, 0) == nth + 1)
    return tl.argmax(is_picked.to(tl.int32), 0, tie_break_left=True)
