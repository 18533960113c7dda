"""Environments for `env.game`, from the first game family that has a game of that name."""

import difflib

import numpy as np

from speedyzero.config import EnvConfig
from speedyzero.env import atari, catch, gymnasium_env, minatar_env
from speedyzero.env.base import GameError, GameFamily, GameInfo, LaneEnv

FAMILIES: tuple[GameFamily, ...] = (atari, minatar_env, catch, gymnasium_env)


def check_game(config: EnvConfig) -> GameInfo:
    """Look up `config.game`, in well under a second.

    Raises ValueError, in one line, for an unknown game (with the nearest names), a missing, damaged or two-player ROM,
    a missing package, unsupported actions or observations, and a module that was not allowed (`user_modules.py`).
    """
    return _find(config)[1]


def make_env(
    config: EnvConfig, *, lanes: int, seed: int, evaluation: bool = False, first_lane: int = 0, render: bool = False
) -> LaneEnv:
    """`lanes` environments of `config.game`, to be started with `reset()`.

    evaluation: lost lives are not reported (Atari) and the evaluation's frame limit applies.
    first_lane: the seeding number of lane 0, if several environments share a run's lanes.
    render: vector environments can be rendered (needs the game's drawing package).

    Raises ValueError as `check_game` does, and for lanes < 1.
    """
    if lanes < 1:
        raise ValueError(f"lanes={lanes}: at least 1 is needed")
    family, game = _find(config)
    return family.make(
        config, game, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation, render=render
    )


def try_game(config: EnvConfig, *, render: bool = False) -> None:
    """Play, and optionally render, one step of one lane. Raises ValueError, in one line, for an unusable game."""
    try:
        env = make_env(config, lanes=1, seed=0, render=render)
        env.reset()
        if render:
            env.render(0)
        env.step(np.zeros(1, np.int64))
        env.close()
    except GameError as error:
        raise ValueError(str(error)) from error


def action_names(config: EnvConfig) -> tuple[str, ...]:
    """The game's names of its actions, or numbers if it has none. Raises as `check_game` does."""
    family, game = _find(config)
    return family.action_names(config, game)


def _find(config: EnvConfig) -> tuple[GameFamily, GameInfo]:
    """The first family that has a game of this name, and the game."""
    for family in FAMILIES:
        game = family.find(config)
        if game is not None:
            if config.kwargs and family is not gymnasium_env:
                raise ValueError(f"env.kwargs={config.kwargs}: {game.name} takes no arguments, Gymnasium games do")
            return family, game
    names = {name.lower(): name for family in FAMILIES for name in family.known_names()}
    near = [names[match] for match in difflib.get_close_matches(config.game.lower(), names, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    *examples, last = (family.EXAMPLE for family in FAMILIES)
    raise ValueError(
        f"env.game={config.game!r}: no such {', '.join(examples)} or {last}, nor your own as my_module:MyGame-v0{hint}"
    )


def is_drawable(config: EnvConfig) -> bool:
    """Whether the game can be filmed."""
    try:
        check_drawable(config, "")
    except ValueError:
        return False
    return True


def check_drawable(config: EnvConfig, where: str) -> None:
    """Raises ValueError for a game that cannot be filmed. where: the argument that asks for it, for the message."""
    try:
        try_game(config, render=True)
    except ValueError as error:
        raise ValueError(f"{where}: {error}; without it no video is made") from error
