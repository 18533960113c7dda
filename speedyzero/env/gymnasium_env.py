"""Any Gymnasium environment with discrete actions and a vector or an image to look at.

Environments are stepped one by one, without Gymnasium's vector wrappers: a lane's games are then seeded by the lane
and the number of the game alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from speedyzero import keyed_random
from speedyzero.config import EnvConfig
from speedyzero.env.base import EnvStep, GameInfo, ObservationSpec
from speedyzero.env.image import picture, resize_area, to_gray

EXAMPLE = "Gymnasium id (CartPole-v1)"


def known_names() -> Collection[str]:
    return gymnasium.registry


def find(config: EnvConfig) -> GameInfo | None:
    """The game of an id that Gymnasium knows, or of the "module:Name-v0" form.

    Raises ValueError where it cannot be made, and for actions and observations that we have no network for.
    """
    try:
        gymnasium.spec(config.game)
    except gymnasium.error.Error:
        return None
    except ImportError as error:  # of the "module:Name-v0" form
        raise ValueError(f"env.game={config.game!r}: {error}") from error
    env = _make_one(config.game)
    try:
        actions = _discrete_actions(env, config)
        return GameInfo("gymnasium", config.game, _frame_spec(env, config), int(actions.n))
    finally:
        env.close()


def make(
    config: EnvConfig, game: GameInfo, *, lanes: int, seed: int, first_lane: int, evaluation: bool, render: bool
) -> GymnasiumLanes:
    return GymnasiumLanes(config, lanes=lanes, seed=seed, first_lane=first_lane, render=render)


def action_names(config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
    return tuple(map(str, range(game.num_actions)))


def _make_one(game: str, *, render: bool = False) -> gymnasium.Env:
    """One environment, its time limit included. Raises ValueError where it can't be made (or drawn, with `render`)."""
    render_mode: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    try:
        env = gymnasium.make(game, disable_env_checker=True, **render_mode)
        if render:
            if "rgb_array" not in env.metadata.get("render_modes", []):
                raise ValueError(f"env.game={game!r}: it can't be drawn, it has no rgb_array render mode")
            env.reset(seed=0)
            env.render()  # what drawing needs is only imported here
    except (gymnasium.error.Error, ImportError) as error:
        raise ValueError(f"env.game={game!r}: {' '.join(str(error).split())}") from error
    return env


def _frame_spec(env: gymnasium.Env, config: EnvConfig) -> ObservationSpec:
    """How one frame of this environment is stored. Raises ValueError for spaces that we have no network for."""
    space = env.observation_space
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"env.game={config.game!r}: observations are {space}; a Box (a vector or a uint8 image) is needed"
        )
    if not _is_image(space):
        return ObservationSpec((math.prod(space.shape),), np.dtype(np.float32))
    channels = space.shape[2] if len(space.shape) == 3 else 1
    if channels not in (1, 3):
        raise ValueError(
            f"env.game={config.game!r}: images are {space.shape}; [H, W], [H, W, 1] or [H, W, 3] is needed"
        )
    return ObservationSpec(
        (config.image_size_px, config.image_size_px, 1 if config.grayscale else channels), np.dtype(np.uint8)
    )


def _discrete_actions(env: gymnasium.Env, config: EnvConfig) -> spaces.Discrete:
    """The action space. Raises ValueError unless it is discrete."""
    if not isinstance(env.action_space, spaces.Discrete):
        raise ValueError(f"env.game={config.game!r}: actions are {env.action_space}; Discrete actions are needed")
    return env.action_space


class GymnasiumLanes:
    """E environments of one id; see `base.LaneEnv`. Training and evaluation are the same here."""

    def __init__(self, config: EnvConfig, *, lanes: int, seed: int, first_lane: int = 0, render: bool = False):
        self._clip_reward = config.clip_reward
        self._seed = seed
        self._first_lane = first_lane
        self._drawable = render
        self._envs = [_make_one(config.game, render=render) for _ in range(lanes)]
        actions = _discrete_actions(self._envs[0], config)
        self._first_action = int(actions.start)
        self.num_lanes = lanes
        self.num_actions = int(actions.n)
        self.spec = _frame_spec(self._envs[0], config)

    def reset(self, first_game: int = 0) -> np.ndarray:
        self._game = [first_game] * self.num_lanes  # number of each lane's next game
        self._ended = np.zeros(self.num_lanes, np.bool_)
        self._frame = np.stack([self._to_frame(self._begin(lane)) for lane in range(self.num_lanes)])
        return self._frame

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        self._frame = self._frame.copy()  # what was handed out stays as it is
        for lane in np.flatnonzero(mask).tolist():
            self._game[lane], self._ended[lane] = int(game[lane]), False
            self._frame[lane] = self._to_frame(self._begin(lane))
        return self._frame

    def step(self, action: np.ndarray) -> EnvStep:
        started = self._ended
        frame = np.empty((self.num_lanes, *self.spec.shape), self.spec.dtype)
        raw_reward: list[SupportsFloat] = [0.0] * self.num_lanes
        game_over = [False] * self.num_lanes
        truncated = [False] * self.num_lanes
        for lane, (begin, number) in enumerate(zip(started.tolist(), action.tolist(), strict=True)):
            if begin:
                observation = self._begin(lane)
            else:
                observation, raw_reward[lane], game_over[lane], truncated[lane], _ = self._envs[lane].step(
                    number + self._first_action
                )
            frame[lane] = self._to_frame(observation)
        self._frame = frame
        raw_rewards, over = np.array(raw_reward, np.float32), np.array(game_over, np.bool_)
        cut = np.array(truncated, np.bool_) & ~over
        self._ended = over | cut
        return EnvStep(
            frame=frame,
            reward=np.sign(raw_rewards) if self._clip_reward else raw_rewards,
            raw_reward=raw_rewards,
            game_over=over,
            life_lost=np.zeros(self.num_lanes, np.bool_),
            truncated=cut,
            started=started,
        )

    def render(self, lane: int) -> np.ndarray:
        """Raises ValueError for a vector environment that was not made with `render=True`."""
        if self._drawable:
            return np.asarray(self._envs[lane].render(), np.uint8)
        if not self.spec.is_image:
            raise ValueError("a picture of a vector environment needs make_env(..., render=True)")
        return picture(self._frame[lane])

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def _begin(self, lane: int) -> Any:
        """The first observation of the lane's next game."""
        stream = keyed_random.ENV_SEED
        seed = keyed_random.seed_for(self._seed, stream, self._first_lane + lane, self._game[lane])
        self._game[lane] += 1
        return self._envs[lane].reset(seed=seed)[0]

    def _to_frame(self, observation: Any) -> np.ndarray:
        """An observation as `spec` says."""
        if not self.spec.is_image:
            return np.asarray(observation, np.float32).reshape(self.spec.shape)
        height_px, width_px, channels = self.spec.shape
        image = np.atleast_3d(observation)
        if channels < image.shape[2]:
            image = to_gray(image)
        return resize_area(image, height_px=height_px, width_px=width_px)


def _is_image(space: spaces.Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) in (2, 3)
