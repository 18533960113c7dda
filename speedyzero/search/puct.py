"""A pUCT search of a batch of roots: root prior, selection rule and result."""

import torch

from kernels.puct_select import PuctRule, bind_puct_select, exploration_table
from kernels.tree import bare_tree, replant
from speedyzero.config import SearchConfig
from speedyzero.search.interface import RootOutput, SearchResult
from speedyzero.search.noise import SearchNoise


class PuctSearch:
    """Trees with their `select`. Source: MuZero, App. B, with EfficientZero's mean-q for unvisited children."""

    def __init__(self, root: RootOutput, config: SearchConfig, chance: SearchNoise, *, backend: str):
        (batch, actions), device = root.policy_logits.shape, root.policy_logits.device
        self._root, self._noise, self._noise_fraction = root, chance.root, config.root_noise_fraction
        self.tree = bare_tree(batch, actions, num_simulations=config.num_simulations, device=device)
        exploration = exploration_table(
            config.num_simulations,
            base=config.pb_c_base,
            init=config.pb_c_init,
            prior_first=config.first_pick == "prior",
        )
        self.rule = PuctRule(
            exploration=exploration.to(device),
            value_delta_max=config.value_delta_max,
            prefix_horizon=config.prefix_horizon,
            tie_seed=chance.tie_seed,
        )
        self.plant()
        self.select = bind_puct_select(self.tree, self.rule, backend=backend)

    def plant(self) -> None:
        """Restart from the current contents of the root and noise tensors."""
        prior = torch.softmax(self._root.policy_logits, dim=-1)
        if self._noise is not None:
            prior = (1.0 - self._noise_fraction) * prior + self._noise_fraction * self._noise
        replant(self.tree, prior, self._root.value)

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
