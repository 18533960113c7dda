"""A pUCT search of a batch of roots: the root's prior, the rule of selection, the result."""

from __future__ import annotations

import torch

from kernels.puct_select import PuctRule, bind_puct_select, exploration_table
from kernels.tree import plant
from speedyzero.config import SearchConfig
from speedyzero.search.interface import RootOutput, SearchResult
from speedyzero.search.noise import SearchNoise


class PuctSearch:
    """Trees with their `select`. Source: MuZero, App. B, with EfficientZero's mean-q for unvisited children."""

    def __init__(self, root: RootOutput, config: SearchConfig, chance: SearchNoise, *, backend: str):
        prior = torch.softmax(root.policy_logits, dim=-1)
        if chance.root is not None:
            fraction = config.root_noise_fraction
            prior = (1.0 - fraction) * prior + fraction * chance.root
        self.tree = plant(prior, root.value, num_simulations=config.num_simulations)
        exploration = exploration_table(
            config.num_simulations,
            base=config.pb_c_base,
            init=config.pb_c_init,
            prior_first=config.first_pick == "prior",
        )
        rule = PuctRule(
            exploration=exploration.to(prior.device),
            value_delta_max=config.value_delta_max,
            prefix_horizon=config.prefix_horizon,
            tie_seed=chance.tie_seed,
        )
        self.select = bind_puct_select(self.tree, rule, backend=backend)

    def result(self) -> SearchResult:
        tree = self.tree
        visits = tree.visits[:, 0].clone()
        return SearchResult(
            visits=visits,
            policy=visits.float() / tree.num_simulations,
            value=tree.value_total / (tree.num_simulations + 1),
            q_values=tree.q[:, 0].clone(),
            action=visits.argmax(-1),
        )
