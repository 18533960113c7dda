"""expand_backup and the next select on the GPU: one program per root, up from its leaf, then down to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from kernels.expand_backup.triton_gpu import expand_root
from kernels.gumbel_select.triton_gpu import rule_arguments as gumbel_arguments
from kernels.gumbel_select.triton_gpu import select_root as gumbel_select_root
from kernels.puct_select import PuctRule
from kernels.puct_select.triton_gpu import rule_arguments as puct_arguments
from kernels.puct_select.triton_gpu import select_root as puct_select_root
from kernels.tree import Tree
from kernels.triton_tree import LAUNCH, lanes, tree_arguments

if TYPE_CHECKING:
    from kernels.expand_backup import ExpandBackup
    from kernels.gumbel_select import GumbelRule


def bind(tree: Tree, rule: PuctRule | GumbelRule, *, discount: float, has_prefix: bool) -> ExpandBackup:
    """The operation on `tree`."""
    _, batch, _, actions = tree.edges.shape
    if isinstance(rule, PuctRule):
        kernel, rules = _expand_then_puct_select, puct_arguments(tree, rule)
    else:
        kernel, rules = _expand_then_gumbel_select, gumbel_arguments(tree, rule)
    arguments = *tree_arguments(tree), float(discount), *rules
    constants = {**lanes(actions), "HAS_PREFIX": has_prefix, "PREFIX_HORIZON": rule.prefix_horizon}

    def expand_then_select(
        simulation: torch.Tensor, reward: torch.Tensor, value: torch.Tensor, policy_logits: torch.Tensor
    ) -> None:
        kernel[(batch,)](simulation, reward, value, policy_logits, *arguments, **constants, **LAUNCH)

    return expand_then_select


@triton.jit(do_not_specialize=["batch", "nodes"])
def _expand_then_puct_select(
    simulation, leaf_reward, leaf_value, leaf_logits,
    edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
    exploration, tie_seed, value_delta_max,
    A: tl.constexpr, A_PAD: tl.constexpr, HAS_PREFIX: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    number = tl.load(simulation)
    expand_root(
        number, leaf_reward, leaf_value, leaf_logits,
        edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
        A, A_PAD, HAS_PREFIX,
    )  # fmt: skip
    tl.debug_barrier()  # what one thread stored the others load below
    puct_select_root(
        number + 1, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset,
        batch, nodes, exploration, tie_seed, value_delta_max, A, A_PAD, PREFIX_HORIZON,
    )  # fmt: skip


@triton.jit(do_not_specialize=["batch", "nodes"])
def _expand_then_gumbel_select(
    simulation, leaf_reward, leaf_value, leaf_logits,
    edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
    gumbel_logit, considered_visits, c_visit, c_scale, min_q_range,
    A: tl.constexpr, A_PAD: tl.constexpr, HAS_PREFIX: tl.constexpr, PREFIX_HORIZON: tl.constexpr,
):  # fmt: skip
    number = tl.load(simulation)
    expand_root(
        number, leaf_reward, leaf_value, leaf_logits,
        edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset, batch, nodes, discount,
        A, A_PAD, HAS_PREFIX,
    )  # fmt: skip
    tl.debug_barrier()  # what one thread stored the others load below
    gumbel_select_root(
        number + 1, edge_floats, edge_ints, node_floats, node_ints, roots, leaf_action, parent_row, reset,
        batch, nodes, gumbel_logit, considered_visits, c_visit, c_scale, min_q_range, A, A_PAD, PREFIX_HORIZON,
    )  # fmt: skip
