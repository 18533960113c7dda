"""gumbel_select in plain torch, all roots in lock-step: the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.tree import NO_CHILD, Tree, ordered_sum

if TYPE_CHECKING:
    from kernels.gumbel_select import GumbelRule


def gumbel_select(tree: Tree, rule: GumbelRule, simulation: int) -> None:
    """See the package's docstring."""
    batch = tree.value_total.shape[0]
    root = torch.arange(batch, device=tree.prior.device)
    node = torch.zeros_like(root)
    searching = torch.ones_like(tree.reset)
    leaf = simulation + 1
    for depth in range(1, leaf + 1):
        visits = tree.visits[root, node]
        if depth == 1:
            considered = visits == rule.considered_visits[simulation]
            score = torch.where(considered, rule.gumbel_logit + root_sigma(tree, rule), float("-inf"))
        else:
            sigma = completed_sigma(tree, rule, root, node)
            weight = tree.prior[root, node] * torch.exp(sigma - sigma.amax(-1, keepdim=True))
            score = weight - visits.float() * (ordered_sum(weight) / (1.0 + visits.sum(-1).float()))[:, None]
        action = score.argmax(-1)
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


def completed_sigma(tree: Tree, rule: GumbelRule, root: torch.Tensor, node: torch.Tensor) -> torch.Tensor:
    """sigma(completed q) of one node of each root, [B, A]."""
    q, visits = tree.q[root, node], tree.visits[root, node]
    prior = tree.prior[root, node].clamp_min(torch.finfo(torch.float32).tiny)
    visited = visits > 0
    total_visits = visits.sum(-1).float()
    mass = ordered_sum(torch.where(visited, prior, 0.0))
    weighted_q = ordered_sum(torch.where(visited, prior * q, 0.0)) / torch.where(mass > 0, mass, 1.0)
    mixed = (tree.value[root, node] + total_visits * weighted_q) / (1.0 + total_visits)

    completed = torch.where(visited, q, mixed[:, None])
    least, largest = completed.amin(-1, keepdim=True), completed.amax(-1, keepdim=True)
    scale = (rule.c_visit + visits.amax(-1, keepdim=True).float()) * rule.c_scale
    return (completed - least) * (scale / (largest - least).clamp_min(rule.min_q_range))


def root_sigma(tree: Tree, rule: GumbelRule) -> torch.Tensor:
    """sigma(completed q) of the roots, [B, A]."""
    root = torch.arange(tree.prior.shape[0], device=tree.prior.device)
    return completed_sigma(tree, rule, root, torch.zeros_like(root))
