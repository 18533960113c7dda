"""Adds a simulation's leaf to the tree and backs its value up to the root.

The leaf's reward is its value prefix minus the parent's `prefix` (0 if the parent's prefix state was reset). Backup: G
starts as the leaf's value; for each edge from the leaf to the root, value_sum += G, visits += 1, the new q updates the
root's running extremes, and G becomes reward + discount * G. (MuZero, Schrittwieser et al. 2020, App. B; value prefix:
EfficientZero, Ye et al. 2021.)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from kernels.expand_backup.numba_cpu import bind as bind_numba
from kernels.expand_backup.reference import expand_backup as reference
from kernels.tree import Tree

# (simulation, reward or value prefix [B], value [B], policy logits [B, A]), all contiguous float32.
ExpandBackup = Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor], None]


def bind_expand_backup(tree: Tree, *, discount: float, has_prefix: bool, backend: str) -> ExpandBackup:
    """The operation on `tree`. has_prefix: the model predicts value prefixes, not rewards."""
    if backend == "numba":
        return bind_numba(tree, discount=discount, has_prefix=has_prefix)
    if backend == "triton":
        from kernels.expand_backup.triton_gpu import bind as bind_triton  # importing triton is slow

        return bind_triton(tree, discount=discount, has_prefix=has_prefix)
    assert backend == "reference", backend
    return partial(reference, tree, discount=discount, has_prefix=has_prefix)
