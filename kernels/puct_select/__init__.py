"""Walk every root's tree from the root to an edge without a child, by pUCT. MuZero, App. B; EfficientZero's form.

At a node with T visits to its children, action a scores u(a) + v(a):

    u(a) = prior(a) * c(T) / (visits(a) + 1)
    c(T) = (ln((T + base + 1) / base) + init) * sqrt(T + 1)   first_pick "prior", ties to the lowest index
                                              * sqrt(T)       first_pick "uniform", ties within 1e-6 at random
    v(a) = norm(q(a)) clipped to [0, 1]; an unvisited child takes the node's mean q

The mean q is over the visited children (0 at the root if there are none); below the root the parent's mean q counts as
one more child. norm(x) = (x - min) / max(max - min, value_delta_max) over the tree's running extremes of q, and x
itself while these are equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from kernels.puct_select.numba_cpu import bind as bind_numba
from kernels.puct_select.reference import puct_select as reference
from kernels.tree import Tree

# (simulation): writes the leaf's parent, parent_action, action, parent_row and reset.
Select = Callable[[Any], None]


@dataclass(frozen=True)
class PuctRule:
    """The constants of a pUCT search."""

    exploration: torch.Tensor  # [S] float32: c(T), on the tree's device
    value_delta_max: float
    prefix_horizon: int  # 0: no resets
    # 32 bits for random ties; None: ties to the lowest index. For triton also as a [1] int64 tensor on the device, read
    # at every launch.
    tie_seed: int | torch.Tensor | None


@lru_cache(maxsize=16)
def exploration_table(num_simulations: int, *, base: float, init: float, prior_first: bool) -> torch.Tensor:
    """c(T) for T = 0 .. S - 1, [S] float32; a table gives every backend the same numbers."""
    visits = np.arange(num_simulations, dtype=np.float64)
    root = np.sqrt(visits + 1 if prior_first else visits)
    return torch.from_numpy(((np.log((visits + base + 1) / base) + init) * root).astype(np.float32))


def bind_puct_select(tree: Tree, rule: PuctRule, *, backend: str) -> Select:
    """The operation on `tree`."""
    if backend == "numba":
        return bind_numba(tree, rule)
    if backend == "triton":
        from kernels.puct_select.triton_gpu import bind as bind_triton  # importing triton is slow

        return bind_triton(tree, rule)
    assert backend == "reference", backend
    return partial(reference, tree, rule)
