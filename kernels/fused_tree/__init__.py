"""expand_backup of one simulation and the select of the next as one operation.

Roots are independent, so on a GPU one kernel performs both for each root; two kernels would synchronise all roots in
between. Defined as the two operations in sequence: `kernels.expand_backup`, then `kernels.puct_select` or
`kernels.gumbel_select`. The select overwrites `tree.parent_row` and `tree.reset`, so the caller must use a leaf's
values before.

`bind_on_device` returns a search's operations with the simulation's number in device memory, as a captured search
needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from kernels.expand_backup import ExpandBackup, bind_expand_backup
from kernels.gumbel_select import GumbelRule, bind_gumbel
from kernels.puct_select import PuctRule, bind_puct_select
from kernels.tree import Tree


@dataclass(frozen=True)
class DeviceOperations:
    """A search's operations on its trees. The first argument's first int32 is the simulation's number."""

    select: Callable[[torch.Tensor], None]
    # (simulation, reward or value prefix [B], value [B], policy logits [B, A]), contiguous float32.
    expand_then_select: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]
    expand_backup: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]


def bind_on_device(tree: Tree, rule: PuctRule | GumbelRule, *, discount: float, has_prefix: bool) -> DeviceOperations:
    """Triton's operations on `tree`: select the first leaf, expand and select the next, expand the last."""
    from kernels.expand_backup.triton_gpu import launcher as expand_backup  # importing triton is slow
    from kernels.fused_tree.triton_gpu import launcher as expand_then_select

    if isinstance(rule, PuctRule):
        from kernels.puct_select.triton_gpu import launcher as puct_select

        select = puct_select(tree, rule)
    else:
        from kernels.gumbel_select.triton_gpu import launcher as gumbel_select

        select = gumbel_select(tree, rule)
    return DeviceOperations(
        select=select,
        expand_then_select=expand_then_select(tree, rule, discount=discount, has_prefix=has_prefix),
        expand_backup=expand_backup(tree, discount=discount, has_prefix=has_prefix),
    )


def bind_expand_then_select(
    tree: Tree, rule: PuctRule | GumbelRule, *, discount: float, has_prefix: bool, backend: str
) -> ExpandBackup:
    """The operation on `tree`, for any simulation but the last, since it selects the next leaf."""
    if backend == "triton":
        from kernels.fused_tree.triton_gpu import bind as bind_triton  # importing triton is slow

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
