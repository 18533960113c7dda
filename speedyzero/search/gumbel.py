"""A Gumbel search of a batch of roots: the noise, the rule of selection, the improved policy and the action."""

from __future__ import annotations

import torch

from kernels.gumbel_select import GumbelRule, bind_gumbel, considered_visits
from kernels.tree import plant
from speedyzero.config import SearchConfig
from speedyzero.search.interface import RootOutput, SearchResult
from speedyzero.search.noise import SearchNoise


class GumbelSearch:
    """Trees with their `select`. Source: Danihelka et al. 2022, sections 3 and 5, App. D."""

    def __init__(self, root: RootOutput, config: SearchConfig, chance: SearchNoise, *, backend: str):
        logits = root.policy_logits
        num_considered = min(config.max_considered_actions, logits.shape[1])
        self.tree = plant(torch.softmax(logits, dim=-1), root.value, num_simulations=config.num_simulations)
        self._rule = GumbelRule(
            gumbel=torch.zeros_like(logits) if chance.root is None else config.gumbel_scale * chance.root,
            logit=logits - logits.amax(-1, keepdim=True),
            considered_visits=considered_visits(num_considered, config.num_simulations),
            c_visit=config.c_visit,
            c_scale=config.c_scale,
            prefix_horizon=config.prefix_horizon,
        )
        operations = bind_gumbel(self.tree, self._rule, backend=backend)
        self.select, self._root_sigma = operations.select, operations.root_sigma

    def result(self) -> SearchResult:
        tree, rule = self.tree, self._rule
        visits = tree.visits[:, 0].clone()
        improved = rule.logit + self._root_sigma()
        most_visited = visits == visits.amax(-1, keepdim=True)
        return SearchResult(
            visits=visits,
            policy=torch.softmax(improved, dim=-1),
            value=tree.value_total / (tree.num_simulations + 1),
            q_values=tree.q[:, 0].clone(),
            action=torch.where(most_visited, rule.gumbel + improved, float("-inf")).argmax(-1),
        )
