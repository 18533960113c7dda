"""Whether a run can be executed here, checked before it creates anything. Called by the commands that start runs.

Each function raises ValueError, in one line, if not. Heavy modules are imported only when needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from speedyzero.arguments.command_line import check_writable
from speedyzero.config import Config

if TYPE_CHECKING:
    from speedyzero.env.base import GameInfo


def check_game_of(config: Config) -> GameInfo:
    """Whether the run's game exists, can be played and filmed, and has a network. Imports no torch."""
    from speedyzero.env.registry import check_drawable, check_game, try_game
    from speedyzero.model.kind import network_kind

    game = check_game(config.env)
    network_kind(config, game.spec)
    try_game(config.env)
    if config.evaluate.video:
        check_drawable(config.env, "evaluate.video=true")
    return game


def check_run(config: Config, *, inline: bool, profiled: bool = False) -> None:
    """Whether a run of this config, checked by `check_game_of`, can be executed here."""
    from speedyzero.env.registry import check_game

    game = check_game(config.env)
    if config.init_from:
        from speedyzero.learner.first_network import first_network

        first_network(config, game)
    if inline:
        from speedyzero.replay.shard import shard_shape

        check_one_of_each(config)
        shard_shape(config, game.spec, game.num_actions)
        return
    from speedyzero.supervisor.space import wire_where_it_fits

    wire_where_it_fits(config, profiled=profiled)


def check_one_of_each(config: Config) -> None:
    """Whether the run fits into one process."""
    from speedyzero.config.placement import place

    placement = place(config)
    counts = (len(placement.actors), len(placement.shards), len(placement.learners))
    if counts != (1, 1, 1):
        raise ValueError(
            f"--inline runs one actor, one shard and one learner, not {counts[0]}, {counts[1]} and {counts[2]}: "
            "set actor.actors=1 replay.shards=1 learner.ranks=1 (and raise actor.envs), or leave --inline out"
        )


def check_new_directory(path: Path) -> None:
    """Whether a run's directory can be created, or exists and is empty."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"run directory {path}: is a file; name a new or empty directory")
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"run directory {path}: exists and is not empty; name another, runs are never overwritten")
    check_writable(path, f"run directory {path}")
