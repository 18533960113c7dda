"""puct_select in plain torch, all roots in lock-step: the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.tie_break import pick
from kernels.tree import NO_CHILD, Tree, ordered_sum

if TYPE_CHECKING:
    from kernels.puct_select import PuctRule

TIE_WIDTH = 1e-6


def puct_select(tree: Tree, rule: PuctRule, simulation: int) -> None:
    """See the package's docstring."""
    batch = tree.value_total.shape[0]
    root = torch.arange(batch, device=tree.prior.device)
    node = torch.zeros_like(root)
    mean_q = torch.zeros_like(tree.value_total)
    searching = torch.ones_like(tree.reset)
    leaf = simulation + 1
    for depth in range(1, leaf + 1):
        score, mean_q = _scores(tree, rule, root, node, mean_q, is_root=depth == 1)
        if rule.tie_seed is None:
            action = score.argmax(-1)
        else:
            tied = score >= score.amax(-1, keepdim=True) - TIE_WIDTH
            nth = pick(int(rule.tie_seed), root, simulation, depth, tied.sum(-1))
            action = (tied & (tied.cumsum(-1) == nth[:, None] + 1)).int().argmax(-1)
        child = tree.child[root, node, action].long()
        arrived = searching & (child == NO_CHILD)
        tree.parent[arrived, leaf] = node[arrived].int()
        tree.parent_action[arrived, leaf] = action[arrived].int()
        tree.action[simulation, arrived] = action[arrived]
        tree.parent_row[arrived] = node[arrived] * batch + root[arrived]
        tree.reset[arrived] = rule.prefix_horizon > 0 and depth % rule.prefix_horizon == 0
        searching &= ~arrived
        if not searching.any():
            break
        node = torch.where(searching, child, node)


def _scores(
    tree: Tree, rule: PuctRule, root: torch.Tensor, node: torch.Tensor, parent_mean_q: torch.Tensor, *, is_root: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """u + v of every action [B, A] and the node's mean q [B]."""
    prior, q, visits = tree.prior[root, node], tree.q[root, node], tree.visits[root, node]
    visited = visits > 0
    num_visited = visited.sum(-1).float()
    q_total = ordered_sum(torch.where(visited, q, 0.0))
    mean_q = q_total / num_visited.clamp_min(1.0) if is_root else (parent_mean_q + q_total) / (num_visited + 1.0)

    exploration = prior * rule.exploration[visits.sum(-1)][:, None] / (visits.float() + 1.0)
    value = torch.where(visited, q, mean_q[:, None])
    least, largest = tree.q_min[:, None], tree.q_max[:, None]
    normalised = (value - least) / (largest - least).clamp_min(rule.value_delta_max)
    value = torch.where(largest > least, normalised, value).clamp(0.0, 1.0)
    return exploration + value, mean_q
