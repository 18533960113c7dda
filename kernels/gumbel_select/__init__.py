"""Selects every root's next leaf, an edge without a child, by Gumbel MuZero. Danihelka et al. 2022, as in mctx.

At a node with network value v, priors pi, T visits to its children:

    v_mix = (v + T * sum over visited(pi q) / sum over visited(pi)) / (1 + T)
    completed(a) = q(a) if visited, else v_mix; minus its minimum, divided by the larger of its range and min_q_range
    sigma(a) = (c_visit + max visits) * c_scale * completed(a)
    improved policy = softmax(logits + sigma)

Root: among the actions with the visit count that sequential halving considers at this simulation, the argmax of
gumbel + logits + sigma. Below: the argmax of improved policy - visits / (1 + T), where the improved policy is computed
as pi * exp(sigma) over its sum (an action whose prior underflows to 0 is never chosen). Ties to the lowest index.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from kernels.gumbel_select.numba_cpu import bind as bind_numba
from kernels.gumbel_select.reference import gumbel_select, root_sigma
from kernels.tree import Tree


@dataclass(frozen=True)
class GumbelOperations:
    """A Gumbel search's operations on its trees besides expansion."""

    select: Callable[[Any], None]  # (simulation): writes the leaf's parent, parent_action, action, parent_row, reset
    root_sigma: Callable[[], torch.Tensor]  # current sigma of the roots' actions, [B, A] float32


@dataclass(frozen=True)
class GumbelRule:
    """The constants of a Gumbel search."""

    # [B, A] float32, contiguous: the roots' scaled Gumbel noise plus their policy logits minus the maximum logit.
    gumbel_logit: torch.Tensor
    considered_visits: tuple[int, ...]  # [S]: see `considered_visits`
    c_visit: float
    c_scale: float
    min_q_range: float  # 1e-8 in mctx: every node's range becomes [0, 1]
    prefix_horizon: int  # 0: no resets


@lru_cache(maxsize=16)
def considered_visits(num_considered: int, num_simulations: int) -> tuple[int, ...]:
    """Prior visit count of the root action of each simulation, [S], by sequential halving.

    A phase with c candidates visits each max(1, floor(S / (ceil(log2 m) * c))) times, in rounds; then the better half
    remains (at least two).
    """
    if num_considered <= 1:
        return tuple(range(num_simulations))
    phases = math.ceil(math.log2(num_considered))
    sequence: list[int] = []
    visits, candidates = 0, num_considered
    while len(sequence) < num_simulations:
        for _ in range(max(1, num_simulations // (phases * candidates))):
            sequence += [visits] * candidates
            visits += 1
        candidates = max(2, candidates // 2)
    return tuple(sequence[:num_simulations])


def bind_gumbel(tree: Tree, rule: GumbelRule, *, backend: str) -> GumbelOperations:
    """The operations on `tree`."""
    if backend == "numba":
        return GumbelOperations(*bind_numba(tree, rule))
    if backend == "triton":
        from kernels.gumbel_select.triton_gpu import bind as bind_triton  # importing triton is slow

        return GumbelOperations(*bind_triton(tree, rule))
    assert backend == "reference", backend
    return GumbelOperations(partial(gumbel_select, tree, rule), partial(root_sigma, tree, rule))
