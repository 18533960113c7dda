"""Shared by the tree's Triton kernels: memory layout, sums in the definition's order, numbers in device memory.

Imported only by the modules of those kernels. They run one program of one warp per root, with the actions in A_PAD
lanes, the least power of two >= A.

Results equal the reference's bit for bit, except for exp: multiply-adds are not fused (LAUNCH), divisions are correctly
rounded (`tl.div_rn`; `/` is not), and sums over actions go from the lowest index up. tl.exp rounds x log2(e) and uses
the GPU's approximate power of two, so for x <= 0 it is within (2^-22 + |x| 2^-23) exp(x) of the exact value, and a
probability within a few 1e-7, about as much as libraries' softmax implementations differ.

Axes: B roots, N nodes, A actions, S simulations.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels import tie_break, tree

# Launch options of every tree kernel. Fused multiply-adds would round once where the reference rounds twice.
LAUNCH: dict[str, Any] = {"num_warps": 1, "num_stages": 1, "enable_fp_fusion": False}

# Kernels can read only globals that are compile-time constants.
VISITS = tl.constexpr(tree.VISITS)
Q = tl.constexpr(tree.Q)
VALUE_SUM = tl.constexpr(tree.VALUE_SUM)
REWARD = tl.constexpr(tree.REWARD)
PRIOR = tl.constexpr(tree.PRIOR)
CHILD = tl.constexpr(tree.CHILD)
PREFIX = tl.constexpr(tree.PREFIX)
VALUE = tl.constexpr(tree.VALUE)
PARENT = tl.constexpr(tree.PARENT)
PARENT_ACTION = tl.constexpr(tree.PARENT_ACTION)
VALUE_TOTAL = tl.constexpr(tree.VALUE_TOTAL)
Q_MIN = tl.constexpr(tree.Q_MIN)
Q_MAX = tl.constexpr(tree.Q_MAX)
NO_CHILD = tl.constexpr(tree.NO_CHILD)

_GOLDEN = tl.constexpr(tie_break.GOLDEN)
_MIX_1 = tl.constexpr(tie_break.MIX_1)
_MIX_2 = tl.constexpr(tie_break.MIX_2)


def tree_arguments(tree: tree.Tree) -> tuple[Any, ...]:
    """A tree as kernel arguments, from edge_floats to nodes."""
    _, batch, nodes, _ = tree.edges.shape
    return (
        tree.edges, tree.edges.view(torch.int32), tree.nodes, tree.nodes.view(torch.int32), tree.roots,
        tree.action, tree.parent_row, tree.reset, batch, nodes,
    )  # fmt: skip


def lanes(actions: int) -> dict[str, int]:
    """A and A_PAD."""
    return {"A": actions, "A_PAD": triton.next_power_of_2(actions)}


@triton.jit
def of_root(memory, field, root, batch, size):
    """The start of a root's `size` numbers in a field. root: int64, since the edges of all roots may exceed 2^31."""
    return memory + (field * batch + root) * size


@triton.jit
def ordered_sum(x, A: tl.constexpr):
    """The sum of the first A lanes from the lowest up, in every lane (tl.sum adds in tree order)."""
    first = tl.zeros_like(x).to(tl.int32)
    total = tl.gather(x, first, 0)
    for a in range(1, A):
        total += tl.gather(x, first + a, 0)
    return total


@triton.jit
def best_action(score, A: tl.constexpr):
    """The lowest lane with the largest score. Below A, even if scores are NaN."""
    return tl.minimum(tl.argmax(score, 0, tie_break_left=True), A - 1)


@triton.jit
def write_leaf(
    root, simulation, node, action, depth, node_ints, leaf_action, parent_row, reset,
    batch, nodes, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    """Record the selected leaf: its parent, the action there, and whether its depth resets the prefix."""
    leaf = simulation + 1
    tl.store(of_root(node_ints, PARENT, root, batch, nodes) + leaf, node)
    tl.store(of_root(node_ints, PARENT_ACTION, root, batch, nodes) + leaf, action)
    tl.store(leaf_action + simulation.to(tl.int64) * batch + root, action.to(tl.int64))
    tl.store(parent_row + root, node.to(tl.int64) * batch + root)
    is_reset = False
    if PREFIX_HORIZON > 0:
        is_reset = depth % PREFIX_HORIZON == 0
    tl.store(reset + root, is_reset)


@triton.jit
def absorb(state, key):
    """`tie_break.absorb`. uint32."""
    x = (state ^ key) + _GOLDEN
    x = (x ^ (x >> 16)) * _MIX_1
    x = (x ^ (x >> 15)) * _MIX_2
    return x ^ (x >> 16)


@triton.jit
def pick(seed, root, simulation, depth, count):
    """`tie_break.pick`. seed: int64. Root numbers are taken modulo 2^32."""
    drawn = absorb(seed.to(tl.uint32), root.to(tl.uint32))
    drawn = absorb(absorb(drawn, simulation.to(tl.uint32)), depth.to(tl.uint32))
    return ((drawn.to(tl.uint64) * count.to(tl.uint64)) >> 32).to(tl.int32)
