"""Players that do not look: random, and one action for ever. What learning has to beat, by the same protocol."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch

from speedyzero.config import EnvConfig, SearchConfig
from speedyzero.env.registry import action_names, check_game
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.result import EvaluationResult


class RandomPlayer:
    """Uniform over the actions, drawn anew for every lane and step."""

    search_config = SearchConfig()

    def __init__(self, num_actions: int, seed: int):
        self._num_actions, self._random = num_actions, np.random.default_rng(seed)

    def search(self, stacked: np.ndarray, *, simulations: int, tie_seed: int) -> SimpleNamespace:
        return SimpleNamespace(action=torch.from_numpy(self._random.integers(self._num_actions, size=len(stacked))))


class ConstantPlayer:
    """The same action for ever."""

    search_config = SearchConfig()

    def __init__(self, action: int):
        self._action = action

    def search(self, stacked: np.ndarray, *, simulations: int, tie_seed: int) -> SimpleNamespace:
        return SimpleNamespace(action=torch.full((len(stacked),), self._action))


def baselines(
    env_config: EnvConfig, *, episodes: int, parallel_envs: int, seed: int
) -> Iterator[tuple[str, EvaluationResult]]:
    """Random play, and each constant action by its name, scored over the very episodes that an agent is scored over."""
    names = action_names(env_config)
    players = {"random": RandomPlayer(check_game(env_config).num_actions, seed)}
    players |= {f"always {name}": ConstantPlayer(action) for action, name in enumerate(names)}
    for name, player in players.items():
        yield name, evaluate(player, env_config, episodes=episodes, parallel_envs=parallel_envs, seed=seed)
