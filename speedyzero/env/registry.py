"""From `env.game` to an environment: the families of games in the order in which they are asked for a name."""

from __future__ import annotations

import difflib

from speedyzero.config import EnvConfig
from speedyzero.env import atari, catch, gymnasium_env, minatar_env
from speedyzero.env.base import GameFamily, GameInfo, LaneEnv

FAMILIES: tuple[GameFamily, ...] = (atari, minatar_env, catch, gymnasium_env)


def check_game(config: EnvConfig) -> GameInfo:
    """Look up `config.game`; well under a second.

    Raises ValueError, in one line, for an unknown game (with the nearest names), a ROM that is missing, damaged or
    needs two players, a package that a game lacks, continuous actions, and observations of an unsupported kind.
    """
    return _find(config)[1]


def make_env(
    config: EnvConfig, *, lanes: int, seed: int, evaluation: bool = False, first_lane: int = 0, render: bool = False
) -> LaneEnv:
    """`lanes` environments of `config.game`, to be begun with `reset()`.

    evaluation: lost lives are not reported (Atari) and the evaluation's frame limit holds (Atari, MinAtar).
    first_lane: the number that lane 0 is seeded by, where several environments share out a run's lanes.
    render: pictures of vector environments can be taken (needs the game's drawing package).

    Raises ValueError as `check_game` does, and for lanes < 1.
    """
    if lanes < 1:
        raise ValueError(f"lanes={lanes}: at least 1 is needed")
    family, game = _find(config)
    return family.make(
        config, game, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation, render=render
    )


def action_names(config: EnvConfig) -> tuple[str, ...]:
    """What the game calls its actions; numbers where it calls them nothing. Raises as `check_game` does."""
    family, game = _find(config)
    return family.action_names(config, game)


def _find(config: EnvConfig) -> tuple[GameFamily, GameInfo]:
    """The first family that has a game of this name, and the game."""
    for family in FAMILIES:
        game = family.find(config)
        if game is not None:
            return family, game
    names = {name.lower(): name for family in FAMILIES for name in family.known_names()}
    near = [names[match] for match in difflib.get_close_matches(config.game.lower(), names, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    *examples, last = (family.EXAMPLE for family in FAMILIES)
    raise ValueError(f"env.game={config.game!r}: no such {', '.join(examples)} or {last}{hint}")
