"""A Gumbel search of a batch of roots: noise, selection rule, improved policy and action."""

import torch

from kernels.gumbel_select import GumbelRule, bind_gumbel, considered_visits
from kernels.tree import bare_tree, replant
from speedyzero.config import SearchConfig
from speedyzero.search.interface import RootOutput, SearchResult
from speedyzero.search.noise import SearchNoise


class GumbelSearch:
    """Trees with their `select`. Source: Danihelka et al. 2022, sections 3 and 5, App. D."""

    def __init__(self, root: RootOutput, config: SearchConfig, chance: SearchNoise, *, backend: str):
        (batch, actions), device = root.policy_logits.shape, root.policy_logits.device
        self._root, self._noise, self._noise_scale = root, chance.root, config.gumbel_scale
        self._gumbel, self._logit = (torch.zeros(batch, actions, device=device) for _ in range(2))
        self.tree = bare_tree(batch, actions, num_simulations=config.num_simulations, device=device)
        self.rule = GumbelRule(
            gumbel_logit=torch.empty(batch, actions, device=device),
            considered_visits=considered_visits(min(config.max_considered_actions, actions), config.num_simulations),
            c_visit=config.c_visit,
            c_scale=config.c_scale,
            min_q_range=config.min_q_range,
            prefix_horizon=config.prefix_horizon,
        )
        self.plant()
        operations = bind_gumbel(self.tree, self.rule, backend=backend)
        self.select, self._root_sigma = operations.select, operations.root_sigma

    def plant(self) -> None:
        """Restart from the current contents of the root and noise tensors."""
        logits = self._root.policy_logits
        if self._noise is not None:
            self._gumbel.copy_(self._noise_scale * self._noise)
        self._logit.copy_(logits - logits.amax(-1, keepdim=True))
        self.rule.gumbel_logit.copy_(self._gumbel + self._logit)
        replant(self.tree, torch.softmax(logits, dim=-1), self._root.value)

    def result(self) -> SearchResult:
        tree = self.tree
        visits = tree.visits[:, 0].clone()
        improved = self._logit + self._root_sigma()
        most_visited = visits == visits.amax(-1, keepdim=True)
        return SearchResult(
            visits=visits,
            policy=torch.softmax(improved, dim=-1),
            value=tree.value_total / (tree.num_simulations + 1),
            q_values=tree.q[:, 0].clone(),
            action=torch.where(most_visited, self._gumbel + improved, float("-inf")).argmax(-1),
        )
