"""expand_backup of one simulation and the select of the next as one operation.

The trees of different roots never meet, so on a GPU one kernel takes each root through both, where two would each wait
for the last root of the other's. Its definition is the two operations in sequence: those of `kernels.expand_backup`
and of `kernels.puct_select` or `kernels.gumbel_select`.

The select overwrites `tree.parent_row` and `tree.reset`: what the caller does with a leaf's, it does before.
"""

from __future__ import annotations

import torch

from kernels.expand_backup import ExpandBackup, bind_expand_backup
from kernels.gumbel_select import GumbelRule, bind_gumbel
from kernels.puct_select import PuctRule, bind_puct_select
from kernels.tree import Tree


def bind_expand_then_select(
    tree: Tree, rule: PuctRule | GumbelRule, *, discount: float, has_prefix: bool, backend: str
) -> ExpandBackup:
    """The operation on `tree`, for any simulation but the last: it selects the leaf of the next one."""
    if backend == "triton":
        from kernels.fused_tree.triton_gpu import bind as bind_triton  # importing triton takes a while

        return bind_triton(tree, rule, discount=discount, has_prefix=has_prefix)
    expand_backup = bind_expand_backup(tree, discount=discount, has_prefix=has_prefix, backend=backend)
    if isinstance(rule, PuctRule):
        select = bind_puct_select(tree, rule, backend=backend)
    else:
        select = bind_gumbel(tree, rule, backend=backend).select

    def expand_then_select(
        simulation: int, reward: torch.Tensor, value: torch.Tensor, policy_logits: torch.Tensor
    ) -> None:
        expand_backup(simulation, reward, value, policy_logits)
        select(simulation + 1)

    return expand_then_select
