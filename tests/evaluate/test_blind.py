"""The blind twin of a player that looks scores what its mixture of actions is worth."""

import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.evaluate.blind import blind_twin
from speedyzero.evaluate.evaluator import evaluate
from tests.evaluate.fake_players import FakePlayer, follow_the_ball

CATCH = EnvConfig(game="Catch", stack=1)


def test_a_twin_takes_the_same_actions_and_does_not_look():
    seeing = evaluate(FakePlayer(follow_the_ball, 3), CATCH, episodes=200, parallel_envs=100, seed=1)
    twin = blind_twin(seeing, CATCH)
    assert seeing.mean == 1.0 and twin.mean < 0.0
    np.testing.assert_allclose(twin.action_shares, seeing.action_shares, atol=0.05)
    assert twin.protocol["episodes"] == 200 and twin.protocol["action"] == "sampled"


def test_information_tells_them_apart():
    seeing = evaluate(FakePlayer(follow_the_ball, 3), CATCH, episodes=100, parallel_envs=100, seed=1)
    shares = seeing.action_shares
    assert seeing.policy_information == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-6)
    assert blind_twin(seeing, CATCH).policy_information == pytest.approx(0.0, abs=1e-6)
