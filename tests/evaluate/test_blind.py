"""The blind twin of a player that looks scores what its mixture of actions is worth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speedyzero.config import EnvConfig, SearchConfig
from speedyzero.evaluate.blind import blind_twin
from speedyzero.evaluate.evaluator import evaluate

CATCH = EnvConfig(game="Catch", stack=1)


class Follower:
    """Catches every ball: it moves towards the ball's column."""

    search_config = SearchConfig()

    def search(self, stacked, *, simulations, tie_seed):
        board = stacked[:, -1, :, :, 0]
        ball = np.array([np.argmax(frame[:-1].max(0)) for frame in board])
        paddle = board[:, -1].argmax(1)
        action = 1 + np.sign(ball - paddle)
        return SimpleNamespace(
            action=torch.from_numpy(action),
            policy=torch.from_numpy(np.eye(3, dtype=np.float32)[action]),
            value=torch.zeros(len(stacked)),
        )


def test_a_twin_takes_the_same_actions_and_does_not_look():
    seeing = evaluate(Follower(), CATCH, episodes=200, parallel_envs=100, seed=1)
    twin = blind_twin(seeing, CATCH)
    assert seeing.mean == 1.0 and twin.mean < 0.0
    np.testing.assert_allclose(twin.action_shares, seeing.action_shares, atol=0.05)
    assert twin.protocol["episodes"] == 200 and twin.protocol["action"] == "sampled"


def test_information_tells_them_apart():
    seeing = evaluate(Follower(), CATCH, episodes=100, parallel_envs=100, seed=1)
    shares = seeing.action_shares
    assert seeing.policy_information == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-6)
    assert blind_twin(seeing, CATCH).policy_information == pytest.approx(0.0, abs=1e-6)
