"""A trained agent in five lines of somebody else's program, playing as evaluation plays."""

import shutil

import numpy as np
import pytest
import torch

import speedyzero
from speedyzero.checkpoint.weights_file import load_weights
from speedyzero.env.registry import check_game
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.learner.first_network import first_network
from speedyzero.system.keyed_random import EVALUATE, seed_for
from tests.evaluate.untrained import save_untrained, untrained_config
from tests.refusal import refusal

CONFIG = untrained_config()


@pytest.mark.parametrize("game", ["Catch", "CartPole-v1"])
def test_it_plays_as_evaluation_does(tmp_path, game):
    directory = tmp_path / "copied"
    shutil.copytree(save_untrained(untrained_config(game, "env.stack=2"), tmp_path, 5), directory)
    agent = speedyzero.load(directory)
    env = agent.make_env(lanes=3, seed=seed_for(0, EVALUATE))
    score, over, step = np.zeros(3), np.zeros(3, bool), env.step(agent.act(env.reset()))
    while True:
        score += np.where(over, 0, step.raw_reward)
        over |= step.game_over | step.truncated
        if over.all():
            break
        step = env.step(agent.act(step.frame, step.started))
    expected = evaluate(agent.model, agent.config.env, episodes=3, parallel_envs=3)
    assert score.tolist() == expected.episode_scores.tolist() and agent.step == 5


def test_what_it_cannot_look_at_is_refused(tmp_path):
    agent = speedyzero.load(save_untrained(CONFIG, tmp_path, 5))
    for bad in (np.zeros((2, 10, 5), np.uint8), np.zeros((2, 10, 5, 1), np.float32), np.zeros((0, 10, 5, 1), np.uint8)):
        assert "uint8" in refusal(agent.act, bad)
    agent.act(np.zeros((2, 10, 5, 1), np.uint8))
    assert "3 lanes" in refusal(agent.act, np.zeros((3, 10, 5, 1), np.uint8))
    assert "nowhere" in refusal(speedyzero.load, tmp_path / "nowhere")


def test_a_new_run_begins_with_weights_alone(tmp_path):
    directory, game = save_untrained(CONFIG, tmp_path / "run", 5), check_game(CONFIG.env)
    for where in (directory, tmp_path / "run"):
        for name, tensor in first_network(untrained_config("Catch", f"init_from={where}"), game).state_dict().items():
            assert torch.equal(tensor, load_weights(directory).state[name]), name
    other = untrained_config("Catch", f"init_from={directory}", "model.mlp_hidden=7")
    assert "init_from=" in refusal(first_network, other, game)
    gone = untrained_config("Catch", f"init_from={tmp_path / 'gone'}")
    assert "init_from=" in refusal(first_network, gone, game)
    first_network(gone, game, begun=True)  # a checkpoint's weights replace them all; what they came from may be gone
