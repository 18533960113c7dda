"""expand_backup of one simulation and the select of the next as one kernel, on a GPU.

Roots are independent, so one kernel performs both for each root; two kernels would synchronise all roots in between.
Defined as the two operations in sequence: `kernels.expand_backup`, then `kernels.puct_select` or
`kernels.gumbel_select`. The select overwrites `tree.parent_row` and `tree.reset`, so the caller must use a leaf's
values before.
"""

from kernels.expand_backup import ExpandBackup
from kernels.gumbel_select import GumbelRule
from kernels.puct_select import PuctRule
from kernels.tree import Tree


def bind_expand_then_select(
    tree: Tree, rule: PuctRule | GumbelRule, *, discount: float, has_prefix: bool
) -> ExpandBackup:
    """The operation on `tree`, for any simulation but the last, since it selects the next leaf."""
    from kernels.fused_tree.triton_gpu import bind  # importing triton is slow

    return bind(tree, rule, discount=discount, has_prefix=has_prefix)
