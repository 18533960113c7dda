"""Which action an evaluation takes: the most visited one, or a sample of the search's improved policy.

A policy that has learnt to mix actions (after a short run, or in a game with ambiguous frame stacks) can score well
sampled and badly as its most likely action. Every draw is a function of (seed, episode, tick), so that scores depend
neither on the number of parallel games nor on the machine.

Axes: E lanes, A actions.
"""

from __future__ import annotations

import numpy as np

from speedyzero.config import EvaluateConfig, choices
from speedyzero.search import SearchResult
from speedyzero.system import keyed_random

MOST_VISITED, SAMPLED = choices(EvaluateConfig, "action")


def chosen_actions(result: SearchResult, how: str, *, seed: int, episodes: np.ndarray, tick: int) -> np.ndarray:
    """[E] int64. how: as `evaluate.action`. seed: the evaluation's; episodes: [E] int64, each lane's game."""
    if how == MOST_VISITED:
        return result.action.cpu().numpy()
    assert how == SAMPLED, how
    cumulative = result.policy.cpu().numpy().astype(np.float64).cumsum(axis=1)  # [E, A]
    keys = keyed_random.keys(seed, keyed_random.EVALUATE, episodes, tick, 1)  # the games' own seeds end in 0
    drawn = keyed_random.uniform(keys, 1) * cumulative[:, -1:]
    return (cumulative > drawn).argmax(axis=1)
