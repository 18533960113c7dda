"""MinAtar's five games (Young and Tian, arXiv 1903.03176): 10x10 boards with a channel per kind of object.

The rules come from the `minatar` package, an optional extra; the lanes are ours, because

- `import minatar` imports seaborn and pandas for drawing, which takes seconds. A game's file needs only numpy.
- its `Environment` carries the last action, which a sticky action repeats, from one game into the next.
- Gymnasium's images have 1 or 3 channels, a board has 4 to 10.

Names are the package's Gymnasium ids: `-v0` has all six actions, `-v1` those that the game uses. As in the package, an
action is replaced by the previous one with probability 0.1, and the difficulty rises during a game.

Axes: E lanes; a board is [10, 10, C], 0 or 255.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from speedyzero.config import EnvConfig
from speedyzero.env.base import EnvStep, GameInfo, ObservationSpec, learns_sign
from speedyzero.env.image import picture
from speedyzero.system import keyed_random

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
) -> MinAtarLanes:
    return MinAtarLanes(config, game.name, lanes=lanes, seed=seed, first_lane=first_lane, evaluation=evaluation)


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


class MinAtarLanes:
    """E games of one name; see `base.LaneEnv`. One step is one frame, without skipping, stacking or resizing.

    Raises ValueError without the package.
    """

    def __init__(
        self, config: EnvConfig, name: str, *, lanes: int, seed: int, first_lane: int = 0, evaluation: bool = False
    ):
        self._rules = _rules(name)
        self.spec, self._actions = _spec_and_actions(name)
        self.num_lanes, self.num_actions = lanes, len(self._actions)
        self._limit_ticks = config.eval_limit_frames if evaluation else config.train_limit_frames
        self._learns_sign = learns_sign(config, "minatar")
        self._seed = seed
        self._first_lane = first_lane

    def reset(self, first_game: int = 0) -> np.ndarray:
        self._number = [first_game] * self.num_lanes  # of each lane's next game
        self._games: list[Any] = [None] * self.num_lanes
        self._last_action = [NO_ACTION] * self.num_lanes
        self._ticks = np.zeros(self.num_lanes, np.int64)
        self._ended = np.zeros(self.num_lanes, np.bool_)
        for lane in range(self.num_lanes):
            self._begin(lane)
        return self._draw()

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        for lane in np.flatnonzero(mask).tolist():
            self._number[lane], self._ended[lane] = int(game[lane]), False
            self._begin(lane)
        return self._draw()

    def step(self, action: np.ndarray) -> EnvStep:
        started = self._ended
        raw_reward = np.zeros(self.num_lanes, np.float32)
        game_over = np.zeros(self.num_lanes, np.bool_)
        for lane, begins in enumerate(started.tolist()):
            if begins:
                self._begin(lane)
            else:
                raw_reward[lane], game_over[lane] = self._act(lane, self._actions[action[lane]])
        truncated = (self._ticks >= self._limit_ticks) & ~game_over
        self._ended = game_over | truncated
        return EnvStep(
            frame=self._draw(),
            reward=np.sign(raw_reward) if self._learns_sign else raw_reward,
            raw_reward=raw_reward,
            game_over=game_over,
            life_lost=np.zeros(self.num_lanes, np.bool_),
            truncated=truncated,
            started=started,
        )

    def render(self, lane: int) -> np.ndarray:
        """One colour per channel, later channels on top."""
        board = self._games[lane].state()
        image = np.zeros((*board.shape[:2], 3), np.uint8)
        for channel, colour in enumerate(_colours(board.shape[2])):
            image[board[:, :, channel]] = colour
        return picture(image)

    def close(self) -> None:
        pass

    def _begin(self, lane: int) -> None:
        """Begin the lane's next game, as a new object without state of the previous one."""
        stream = keyed_random.ENV_SEED
        seed = keyed_random.seed_for(self._seed, stream, self._first_lane + lane, self._number[lane])
        game = self._rules()
        game.random = np.random.RandomState(seed)
        game.reset()
        self._games[lane] = game
        self._number[lane] += 1
        self._last_action[lane] = NO_ACTION
        self._ticks[lane] = 0

    def _act(self, lane: int, action: int) -> tuple[float, bool]:
        """Reward, and whether the game is over. action: the package's number."""
        game = self._games[lane]
        if game.random.rand() < STICKY_PROBABILITY:  # from the game's own generator, as the package does
            action = self._last_action[lane]
        self._last_action[lane] = action
        self._ticks[lane] += 1
        return game.act(action)

    def _draw(self) -> np.ndarray:
        return np.stack([game.state() for game in self._games]).astype(np.uint8) * np.uint8(255)


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
