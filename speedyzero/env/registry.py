"""From `env.game` to an environment: what a name means, and what is refused and why."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import gymnasium

from speedyzero.config import EnvConfig
from speedyzero.env import atari, atari_roms, catch, gymnasium_env, minatar_env
from speedyzero.env.base import LaneEnv, ObservationSpec


@dataclass(frozen=True)
class GameInfo:
    """What a run has to know of its game before it makes any environment."""

    kind: str  # "atari", "minatar", "gymnasium" or "catch"
    name: str  # as the field spells it: "MsPacman", "MinAtar/Breakout-v1", "CartPole-v1", "Catch"
    spec: ObservationSpec
    num_actions: int


def check_game(config: EnvConfig) -> GameInfo:
    """Look up `config.game`; well under a second.

    Raises ValueError, in one line, for an unknown game (with the nearest names), a ROM that is missing, damaged or
    needs two players, a package that a game lacks, continuous actions, and observations of an unsupported kind.
    """
    if config.game.lower() == "catch":
        return GameInfo("catch", "Catch", catch.SPEC, catch.NUM_ACTIONS)
    name = atari_roms.find_name(config.game)
    if name is not None:
        num_actions = atari_roms.count_actions(name, full_action_space=config.full_action_space)
        return GameInfo("atari", name, atari.frame_spec(config), num_actions)
    minatar_name = minatar_env.find_name(config.game)
    if minatar_name is not None:
        spec, minatar_actions = minatar_env.spec_and_actions(minatar_name)
        return GameInfo("minatar", minatar_name, spec, len(minatar_actions))
    try:
        gymnasium.spec(config.game)
    except gymnasium.error.Error as error:
        raise ValueError(_unknown(config.game)) from error
    except ImportError as error:  # of the "module:Name-v0" form
        raise ValueError(f"env.game={config.game!r}: {error}") from error
    env = gymnasium_env.make(config.game)
    try:
        actions = gymnasium_env.discrete_actions(env, config)
        return GameInfo("gymnasium", config.game, gymnasium_env.frame_spec(env, config), int(actions.n))
    finally:
        env.close()


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
    game = check_game(config)
    if game.kind == "catch":
        return catch.CatchLanes(lanes=lanes, seed=seed, first_lane=first_lane)
    if game.kind == "atari":
        rom = atari_roms.rom_of_name()[game.name]
        return atari.AtariLanes(config, rom, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation)
    if game.kind == "minatar":
        return minatar_env.MinAtarLanes(
            config, game.name, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation
        )
    return gymnasium_env.GymnasiumLanes(config, lanes=lanes, seed=seed, first_lane=first_lane, render=render)


def action_names(config: EnvConfig) -> tuple[str, ...]:
    """What the game calls its actions; numbers where it calls them nothing. Raises as `check_game` does."""
    game = check_game(config)
    if game.kind == "atari":
        return atari_roms.action_names(game.name, full_action_space=config.full_action_space)
    if game.kind == "minatar":
        return minatar_env.action_names(game.name)
    if game.kind == "catch":
        return catch.ACTION_NAMES
    return tuple(map(str, range(game.num_actions)))


def _unknown(game: str) -> str:
    names = {
        name.lower(): name for name in [*gymnasium.registry, *atari_roms.rom_of_name(), *minatar_env.NAMES, "Catch"]
    }
    near = [names[match] for match in difflib.get_close_matches(game.lower(), names, n=3)]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    kinds = "Atari game (Pong), MinAtar game (MinAtar/Breakout-v1), Gymnasium id (CartPole-v1) or Catch"
    return f"env.game={game!r}: no such {kinds}{hint}"
