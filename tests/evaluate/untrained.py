"""Checkpoints of a network that nobody has trained."""

from pathlib import Path

import torch

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.model.build import build_network


def untrained_config(game: str = "Catch", *overrides: str) -> Config:
    return resolve(game=game, gpus=0, overrides=["search.num_simulations=4", *overrides])


def save_untrained(config: Config, run_dir: Path, step: int, *, env_steps: int = 0) -> Path:
    """A run's checkpoint, of weights that prefer something: heads begin at zero."""
    game = check_game(config.env)
    torch.manual_seed(step)
    network = build_network(config, game.spec, game.num_actions)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    directory = checkpoint_dir(run_dir, step)
    save_weights(directory, network.state_dict(), checkpoint_meta(config, game, env_steps=env_steps, step=step))
    return directory
