"""Agents without a network: a rule from stacked frames to actions, and a memory of what they were asked.

Axes: A lanes still playing, S stacked frames.
"""

import numpy as np
import torch

from speedyzero.config import SearchConfig
from speedyzero.search import SearchResult


class FakePlayer:
    """Plays `rule(stacked [A, S, ...]) -> action [A]`. Its value of lane i is `i + 0.5`."""

    def __init__(self, rule, num_actions):
        self.rule = rule
        self.num_actions = num_actions
        self.search_config = SearchConfig(num_simulations=7)
        self.batches = []  # a copy of every [A, S, ...] it was asked about
        self.simulations = set()
        self.tie_seeds = []

    def search(self, stacked, *, simulations, tie_seed):
        self.batches.append(stacked.copy())
        self.simulations.add(simulations)
        self.tie_seeds.append(tie_seed)
        action = torch.from_numpy(np.asarray(self.rule(stacked), np.int64))
        policy = torch.nn.functional.one_hot(action, self.num_actions).float()
        value = torch.arange(len(stacked)) + 0.5
        return SearchResult(policy.int(), policy, value, torch.zeros_like(policy), action)


def always(action):
    return lambda stacked: np.full(len(stacked), action)


def catch_columns(stacked):
    """Columns of ball and paddle in the newest frame; the ball's is -1 once it has landed."""
    board = stacked[:, -1, :, :, 0]
    above = board[:, :-1].any(axis=1)
    return np.where(above.any(axis=1), above.argmax(axis=1), -1), board[:, -1].argmax(axis=1)


def follow_the_ball(stacked):
    ball, paddle = catch_columns(stacked)
    return 1 + np.sign(ball - paddle)


def balance(stacked):
    """CartPole: push towards where the pole falls."""
    _, _, angle, angular_velocity = stacked[:, -1].T
    return (angle + 0.5 * angular_velocity > 0).astype(np.int64)


def lean(stacked):
    """CartPole: push towards where the pole leans; it overshoots and falls sooner or later."""
    return (stacked[:, -1, 2] > 0).astype(np.int64)
