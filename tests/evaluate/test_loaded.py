"""A trained agent in five lines of somebody else's program, playing as evaluation plays."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import speedyzero
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.weights_file import checkpoint_dir, load_weights, save_weights
from speedyzero.env.registry import check_game
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.learner.first_network import first_network
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.system.keyed_random import EVALUATE, seed_for

GAMES = ["Catch", "CartPole-v1"]


def saved(run_dir: Path, game: str, *, step: int = 5) -> Path:
    preset = "catch" if game == "Catch" else "cartpole"
    config = resolve(preset, game, 0, 0, None, ["search.num_simulations=4", "env.stack=2", f"seed={step}"])
    network = first_network(config, check_game(config.env))
    for parameter in network.parameters():  # the heads begin at zero: make weights that prefer something
        torch.nn.init.normal_(parameter, std=0.3)
    meta = checkpoint_meta(config, check_game(config.env), env_steps=0, step=step)
    save_weights(checkpoint_dir(run_dir, step), network.state_dict(), meta)
    return checkpoint_dir(run_dir, step)


@pytest.mark.parametrize("game", GAMES)
def test_it_plays_as_evaluation_does(tmp_path, game):
    directory = tmp_path / "copied"
    shutil.copytree(saved(tmp_path, game), directory)
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
    agent = speedyzero.load(saved(tmp_path, "Catch"))
    for bad in (np.zeros((2, 10, 5), np.uint8), np.zeros((2, 10, 5, 1), np.float32), np.zeros((0, 10, 5, 1), np.uint8)):
        with pytest.raises(ValueError, match="this agent takes uint8"):
            agent.act(bad)
    agent.act(np.zeros((2, 10, 5, 1), np.uint8))
    with pytest.raises(ValueError, match="3 lanes, it has played 2"):
        agent.act(np.zeros((3, 10, 5, 1), np.uint8))
    with pytest.raises(ValueError, match="neither a run's directory"):
        speedyzero.load(tmp_path / "nowhere")


def test_importing_the_package_imports_no_torch():
    code = "import sys, speedyzero; assert 'torch' not in sys.modules; speedyzero.load; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_new_run_begins_with_weights_alone(tmp_path):
    directory = saved(tmp_path / "run", "Catch")
    overrides = ["search.num_simulations=4", "env.stack=2"]
    game = check_game(resolve("catch", "Catch", 0, 0, None, overrides).env)
    for where in (directory, tmp_path / "run"):
        config = resolve("catch", "Catch", 0, 0, None, [*overrides, f"init_from={where}"])
        for name, tensor in first_network(config, game).state_dict().items():
            assert torch.equal(tensor, load_weights(directory).state[name]), name
    other = resolve("catch", "Catch", 0, 0, None, [*overrides, f"init_from={directory}", "model.mlp_hidden=7"])
    with pytest.raises(ValueError, match="init_from=.*do not fit this run's network"):
        first_network(other, game)
    for wrong in (tmp_path / "nowhere", tmp_path):
        config = resolve("catch", "Catch", 0, 0, None, [f"init_from={wrong}"])
        with pytest.raises(ValueError, match="init_from=.*neither a checkpoint"):
            first_network(config, game)


def test_a_run_that_goes_on_needs_no_init_from_any_more(tmp_path):
    """A checkpoint's weights replace them all, and what they came from may be gone."""
    config = resolve("catch", "Catch", 0, 0, None, [f"init_from={tmp_path / 'gone'}"])
    game = check_game(config.env)
    with pytest.raises(ValueError, match="gone"):
        first_network(config, game)
    first_network(config, game, begun=True)
