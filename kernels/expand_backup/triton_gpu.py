"""expand_backup on the GPU: one program per root, from its leaf to its root node.

Axes: B roots, N nodes, A actions, S simulations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from kernels.tree import Tree
from kernels.triton_tree import (
    CHILD,
    LAUNCH,
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
    lanes,
    of_root,
    ordered_sum,
    tree_arguments,
)

if TYPE_CHECKING:
    from kernels.expand_backup import ExpandBackup


def bind(tree: Tree, *, discount: float, has_prefix: bool) -> ExpandBackup:
    """The operation on `tree`."""
    _, batch, _, actions = tree.edges.shape
    arguments = *tree_arguments(tree), float(discount)
    constants = {**lanes(actions), "HAS_PREFIX": has_prefix}

    def expand_backup(
        simulation: torch.Tensor, reward: torch.Tensor, value: torch.Tensor, policy_logits: torch.Tensor
    ) -> None:
        _expand_backup[(batch,)](simulation, reward, value, policy_logits, *arguments, **constants, **LAUNCH)

    return expand_backup


@triton.jit(do_not_specialize=["batch", "nodes"])
def _expand_backup(
    simulation, leaf_reward, leaf_value, leaf_logits,
    edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
    A: tl.constexpr, A_PAD: tl.constexpr, HAS_PREFIX: tl.constexpr,
):  # fmt: skip
    expand_root(
        tl.load(simulation), leaf_reward, leaf_value, leaf_logits,
        edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
        A, A_PAD, HAS_PREFIX,
    )  # fmt: skip


@triton.jit
def expand_root(
    simulation, leaf_reward, leaf_value, leaf_logits,
    edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
    A: tl.constexpr, A_PAD: tl.constexpr, HAS_PREFIX: tl.constexpr,
):  # fmt: skip
    """Add the leaf of this program's root and back its value up. simulation: its number."""
    # Not split into smaller functions, as each would need the nine pointers below.
    root = tl.program_id(0).to(tl.int64)
    leaf = simulation + 1
    visits = of_root(edge_ints, VISITS, root, batch, nodes * A)
    q = of_root(edge_floats, Q, root, batch, nodes * A)
    value_sum = of_root(edge_floats, VALUE_SUM, root, batch, nodes * A)
    reward = of_root(edge_floats, REWARD, root, batch, nodes * A)
    prior = of_root(edge_floats, PRIOR, root, batch, nodes * A)
    children = of_root(edge_ints, CHILD, root, batch, nodes * A)
    prefix = of_root(node_floats, PREFIX, root, batch, nodes)
    parent = of_root(node_ints, PARENT, root, batch, nodes)
    parent_action = of_root(node_ints, PARENT_ACTION, root, batch, nodes)

    # The leaf: a node whose edges lead nowhere yet.
    lane = tl.arange(0, A_PAD)
    is_action = lane < A
    logits = tl.load(leaf_logits + root * A + lane, is_action, float("-inf"))
    weight = tl.exp(logits - tl.max(logits))
    leaf_edge = leaf * A + lane
    tl.store(prior + leaf_edge, tl.div_rn(weight, ordered_sum(weight, A)), is_action)
    tl.store(q + leaf_edge, tl.zeros([A_PAD], tl.float32), is_action)
    tl.store(visits + leaf_edge, tl.zeros([A_PAD], tl.int32), is_action)
    tl.store(children + leaf_edge, tl.full([A_PAD], NO_CHILD, tl.int32), is_action)
    backed_up = tl.load(leaf_value + root)
    tl.store(of_root(node_floats, VALUE, root, batch, nodes) + leaf, backed_up)
    gained = tl.load(leaf_reward + root)  # value prefix, or reward
    kept_prefix = 0.0
    if HAS_PREFIX:
        kept_prefix = tl.where(tl.load(reset + root), 0.0, gained)
    tl.store(prefix + leaf, kept_prefix)

    # The edge to it.
    above = tl.load(parent + leaf)
    new_edge = above * A + tl.load(parent_action + leaf)
    tl.store(reward + new_edge, gained - tl.load(prefix + above))
    tl.store(value_sum + new_edge, 0.0)
    tl.store(children + new_edge, leaf)
    tl.debug_barrier()  # other threads load below what one thread stored

    least = tl.load(of_root(roots, Q_MIN, root, batch, 1))
    largest = tl.load(of_root(roots, Q_MAX, root, batch, 1))
    child = leaf
    while child > 0:
        node = tl.load(parent + child)
        edge = node * A + tl.load(parent_action + child)
        edge_reward = tl.load(reward + edge)
        edge_sum = tl.load(value_sum + edge) + backed_up
        edge_visits = tl.load(visits + edge) + 1
        edge_q = edge_reward + discount * tl.div_rn(edge_sum, edge_visits.to(tl.float32))
        tl.store(value_sum + edge, edge_sum)
        tl.store(visits + edge, edge_visits)
        tl.store(q + edge, edge_q)
        least = tl.minimum(least, edge_q)
        largest = tl.maximum(largest, edge_q)
        backed_up = edge_reward + discount * backed_up
        child = node
    tl.store(of_root(roots, Q_MIN, root, batch, 1), least)
    tl.store(of_root(roots, Q_MAX, root, batch, 1), largest)
    value_total = of_root(roots, VALUE_TOTAL, root, batch, 1)
    tl.store(value_total, tl.load(value_total) + backed_up)
