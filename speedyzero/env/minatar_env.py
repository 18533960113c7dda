"""MinAtar's five games (Young and Tian, arXiv 1903.03176): 10x10 boards with a channel per kind of object.

The rules come from the `minatar` package, an optional extra; the environment is ours, because

- `import minatar` imports seaborn and pandas for drawing, which takes seconds. A game's file needs only numpy.
- its `Environment` carries the last action, which a sticky action repeats, from one game into the next.
- a board has 4 to 10 channels, more than the images that other Gymnasium games may show.

Names are the package's Gymnasium ids: `-v0` has all six actions, `-v1` those that the game uses. As in the package, an
action is replaced by the previous one with probability 0.1, and the difficulty rises during a game.

Axes: a board is [10, 10, C], 0 or 255.
"""

import difflib
import functools
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from speedyzero.config import EnvConfig
from speedyzero.env.base import GameInfo, ObservationSpec
from speedyzero.env.gymnasium_env import GymnasiumLanes
from speedyzero.env.image import picture

EXAMPLE = "MinAtar game (MinAtar/Breakout-v1)"
PREFIX = "MinAtar/"
STICKY_PROBABILITY = 0.1
_ACTION_NAMES = ("NOOP", "LEFT", "UP", "RIGHT", "DOWN", "FIRE")  # by the package's numbers
NUM_ACTIONS, NO_ACTION = len(_ACTION_NAMES), 0
_FILE_OF_GAME = {
    "Asterix": "asterix",
    "Breakout": "breakout",
    "Freeway": "freeway",
    "Seaquest": "seaquest",
    "SpaceInvaders": "space_invaders",
}
NAMES = tuple(f"{PREFIX}{game}-{version}" for game in _FILE_OF_GAME for version in ("v0", "v1"))


def known_names() -> Collection[str]:
    return NAMES


def find(config: EnvConfig) -> GameInfo | None:
    """The game with MinAtar's prefix. Raises ValueError for an unknown game or without the package."""
    name = _find_name(config.game)
    if name is None:
        return None
    spec, actions = _spec_and_actions(name)
    return GameInfo("minatar", name, spec, len(actions))


def make(
    config: EnvConfig, game: GameInfo, *, lanes: int, seed: int, first_lane: int, evaluation: bool, render: bool
) -> GymnasiumLanes:
    limit = config.eval_limit_frames if evaluation else config.train_limit_frames
    envs = [gymnasium.wrappers.TimeLimit(MinAtarGame(game.name), limit) for _ in range(lanes)]
    return GymnasiumLanes(config, envs, game.spec, seed=seed, first_lane=first_lane, drawable=True)


def action_names(config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
    return tuple(_ACTION_NAMES[action] for action in _spec_and_actions(game.name)[1])


def _find_name(game: str) -> str | None:
    """The package's name of a game, or None without MinAtar's prefix. Raises ValueError for an unknown game."""
    if not game.lower().startswith(PREFIX.lower()):
        return None
    known = {name.lower(): name for name in NAMES}
    if game.lower() in known:
        return known[game.lower()]
    wanted = game[len(PREFIX) :].lower()  # without the prefix, which all names share
    near = difflib.get_close_matches(wanted, [name[len(PREFIX) :] for name in known], n=1)
    hint = f"did you mean {known[(PREFIX + near[0]).lower()]}?" if near else f"there are {', '.join(NAMES)}"
    raise ValueError(f"env.game={game!r}: MinAtar has no such game; {hint}")


def _spec_and_actions(name: str) -> tuple[ObservationSpec, tuple[int, ...]]:
    """A board's spec and the package's numbers of the actions. Raises ValueError without the package."""
    game = _rules(name)()
    actions = game.minimal_action_set() if name.endswith("-v1") else range(NUM_ACTIONS)
    return ObservationSpec(tuple(game.state_shape()), np.dtype(np.uint8)), tuple(actions)


class MinAtarGame(gymnasium.Env):
    """A game that begins anew as a new object, without state of the previous one. One step is one frame."""

    def __init__(self, name: str):
        self._rules, (spec, self._actions) = _rules(name), _spec_and_actions(name)
        self.observation_space = gymnasium.spaces.Box(0, 255, spec.shape, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        self._game = self._rules()
        self._game.random = np.random.RandomState(seed)
        self._game.reset()
        self._last_action = NO_ACTION
        return self._board(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        number = self._actions[action]
        if self._game.random.rand() < STICKY_PROBABILITY:  # from the game's own generator, as the package does
            number = self._last_action
        self._last_action = number
        reward, over = self._game.act(number)
        return self._board(), reward, over, False, {}

    def render(self) -> np.ndarray:
        """One colour per channel, later channels on top."""
        board = self._game.state()
        image = np.zeros((*board.shape[:2], 3), np.uint8)
        for channel, colour in enumerate(_colours(board.shape[2])):
            image[board[:, :, channel]] = colour
        return picture(image)

    def _board(self) -> np.ndarray:
        return self._game.state().astype(np.uint8) * np.uint8(255)


@functools.cache
def _rules(name: str) -> Any:
    """The class of a game's rules, from its file in the package. Raises ValueError without the package."""
    file = _FILE_OF_GAME[name.removeprefix(PREFIX).partition("-")[0]]
    package = importlib.util.find_spec("minatar")
    if package is None or not package.submodule_search_locations:
        raise ValueError(f"env.game={name!r}: the minatar package is missing; pip install speedyzero[minatar]")
    path = Path(package.submodule_search_locations[0]) / "environments" / f"{file}.py"
    spec = importlib.util.spec_from_file_location(f"minatar.environments.{file}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Env


@functools.cache
def _colours(channels: int) -> np.ndarray:
    """Hues around the circle, [C, 3] uint8."""
    angle = 2 * np.pi * (np.arange(channels)[:, None] / channels + np.array([0, 1 / 3, 2 / 3]))
    return np.rint(155 + 100 * np.cos(angle)).astype(np.uint8)
