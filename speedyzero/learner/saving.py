"""Saves a learner's weights with their metadata."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config import Config
from speedyzero.config.documents import config_document
from speedyzero.env.registry import GameInfo
from speedyzero.learner.learner import Learner

_log = logging.getLogger("speedyzero.checkpoint")


def save_to_score(run_dir: Path, learner: Learner, meta: Mapping[str, Any]) -> OSError | None:
    """Save weights for an evaluation. Returns the error of a failed write, which loses the score, not the run."""
    try:
        save_weights(checkpoint_dir(run_dir, learner.train_step), learner.network.state_dict(), meta)
    except OSError as error:
        _log.warning("weights of train step %d: %s", learner.train_step, error)
        return error
    return None


def checkpoint_meta(config: Config, game: GameInfo, *, env_steps: int, step: int, nodes: int = 1) -> dict[str, Any]:
    """Metadata of a set of weights, with all settings: enough to play without the rest of the run. config: of the whole
    run, nodes: among which it was divided.
    """
    return {
        "step": step,
        "env_steps": env_steps,
        "preset": config.preset,
        "game": game.name,
        "num_actions": game.num_actions,
        "score": None,
        "nodes": nodes,
        "config": config_document(config),
    }
