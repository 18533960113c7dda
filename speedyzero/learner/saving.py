"""Saves a learner's weights with their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config import Config
from speedyzero.config.documents import config_document
from speedyzero.env.registry import GameInfo
from speedyzero.learner.learner import Learner


def save_checkpoint(
    run_dir: Path, config: Config, game: GameInfo, learner: Learner, *, env_steps: int, step: int
) -> None:
    meta = checkpoint_meta(config, game, env_steps=env_steps, step=step)
    save_weights(checkpoint_dir(run_dir, step), learner.network.state_dict(), meta)


def checkpoint_meta(config: Config, game: GameInfo, *, env_steps: int, step: int) -> dict[str, Any]:
    """Metadata of a set of weights, with all settings: enough to play without the rest of the run."""
    return {
        "step": step,
        "env_steps": env_steps,
        "preset": config.preset,
        "game": game.name,
        "num_actions": game.num_actions,
        "score": None,
        "config": config_document(config),
    }
