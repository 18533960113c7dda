"""Gymnasium environments with discrete actions and vector or image observations.

Environments are stepped one by one, without Gymnasium's vector wrappers, so that a game is seeded only by its lane and
number. Environments are third-party code: exceptions and invalid results become a `GameError` that names the lane, the
step and the action.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium import spaces

from speedyzero.config import EnvConfig
from speedyzero.env import user_modules
from speedyzero.env.base import EnvStep, GameError, GameInfo, ObservationSpec, learns_sign
from speedyzero.env.gymnasium_spaces import discrete_actions, frame_spec
from speedyzero.env.image import picture, resize_area, to_gray
from speedyzero.system import keyed_random

KIND = "gymnasium"
EXAMPLE = "Gymnasium id (CartPole-v1)"
_STEP_RESULT = "observation, reward, terminated, truncated and info"
MASK_KEY = "action_mask"


def known_names() -> Collection[str]:
    return gymnasium.registry


def find(config: EnvConfig) -> GameInfo | None:
    """The game of a Gymnasium id, which may have the form "module:Name-v0".

    Raises ValueError if it cannot be created or its actions or observations are not supported.
    """
    gymnasium_id = user_modules.imported(config.game)
    try:
        spec = gymnasium.spec(gymnasium_id)
    except gymnasium.error.Error as error:
        if gymnasium_id == config.game:
            return None
        raise ValueError(f"env.game={config.game!r}: {_one_line(error)}") from error
    env = _make_one(config)
    try:
        return GameInfo(
            KIND,
            config.game,
            frame_spec(env.observation_space, config),
            int(discrete_actions(env.action_space, config).n),
            has_limit=spec.max_episode_steps is not None,
            frames_per_second=env.metadata.get("render_fps"),
        )
    finally:
        _close(env, config)


def make(
    config: EnvConfig, game: GameInfo, *, lanes: int, seed: int, first_lane: int, evaluation: bool, render: bool
) -> GymnasiumLanes:
    """A game without a limit has another one in evaluation."""
    drawable = render and _can_be_drawn(config)
    if render and not drawable and not game.spec.is_image:
        raise ValueError(f"env.game={config.game!r}: it can't be drawn, it has no rgb_array render mode")
    envs = [_make_one(config, evaluation=evaluation, render=drawable) for _ in range(lanes)]
    return GymnasiumLanes(config, envs, game.spec, seed=seed, first_lane=first_lane, drawable=drawable)


def action_names(config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
    return tuple(map(str, range(game.num_actions)))


def _make_one(config: EnvConfig, *, evaluation: bool = False, render: bool = False) -> gymnasium.Env:
    """One environment, with our time limit if it has none. Raises ValueError if it cannot be created."""
    arguments: dict[str, Any] = {"disable_env_checker": True, **config.kwargs}
    if render:
        arguments["render_mode"] = "rgb_array"
    try:
        gymnasium_id = user_modules.imported(config.game)
        if gymnasium.spec(gymnasium_id).max_episode_steps is None:
            arguments.setdefault(
                "max_episode_steps", config.eval_limit_frames if evaluation else config.train_limit_frames
            )
        return gymnasium.make(gymnasium_id, **arguments)
    except gymnasium.error.Error as error:
        raise ValueError(f"env.game={config.game!r}: {_one_line(error)}") from error
    except (Exception, SystemExit) as error:
        given = f" with env.kwargs={config.kwargs}" if config.kwargs else ""
        hint = "; arguments are given as env.kwargs={size: 5}" if isinstance(error, TypeError) else ""
        raise ValueError(f"env.game={config.game!r}: can't be made{given}: {_described(error)}{hint}") from error


def _close(env: gymnasium.Env, config: EnvConfig) -> None:
    try:
        env.close()
    except (Exception, SystemExit) as error:
        raise ValueError(f"env.game={config.game!r}: close() failed: {_described(error)}") from error


def _can_be_drawn(config: EnvConfig) -> bool:
    env = _make_one(config)
    try:
        return "rgb_array" in env.metadata.get("render_modes", [])
    finally:
        _close(env, config)


class GymnasiumLanes:
    """E environments of one game; see `base.LaneEnv`."""

    def __init__(
        self,
        config: EnvConfig,
        envs: Sequence[gymnasium.Env],
        spec: ObservationSpec,
        *,
        seed: int,
        first_lane: int,
        drawable: bool,
    ):
        """drawable: whether `render` of the environments gives images; otherwise frames are shown."""
        self._config, self._envs, self.spec, self._drawable = config, envs, spec, drawable
        self._learns_sign = learns_sign(config, KIND)
        self._seed, self._first_lane = seed, first_lane
        actions, self._space = discrete_actions(envs[0].action_space, config), envs[0].observation_space
        self._first_action = int(actions.start)
        self.num_lanes, self.num_actions = len(envs), int(actions.n)

    def reset(self, first_game: int = 0) -> np.ndarray:
        self._game = [first_game] * self.num_lanes  # number of each lane's next game
        self._steps = [0] * self.num_lanes  # of each lane's current game
        self._ended = np.zeros(self.num_lanes, np.bool_)
        self._frame = np.stack([self._begin(lane) for lane in range(self.num_lanes)])
        return self._frame

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        self._frame = self._frame.copy()  # arrays returned before must not change
        for lane in np.flatnonzero(mask).tolist():
            self._game[lane], self._ended[lane] = int(game[lane]), False
            self._frame[lane] = self._begin(lane)
        return self._frame

    def step(self, action: np.ndarray) -> EnvStep:
        started = self._ended
        frame = np.empty((self.num_lanes, *self.spec.shape), self.spec.dtype)
        raw_reward = np.zeros(self.num_lanes, np.float32)
        over = np.zeros(self.num_lanes, np.bool_)
        cut = np.zeros(self.num_lanes, np.bool_)
        for lane, (begin, number) in enumerate(zip(started.tolist(), action.tolist(), strict=True)):
            if begin:
                frame[lane] = self._begin(lane)
            else:
                frame[lane], raw_reward[lane], over[lane], cut[lane] = self._act(lane, number + self._first_action)
        self._frame = frame
        cut &= ~over
        self._ended = over | cut
        return EnvStep(
            frame=frame,
            reward=np.sign(raw_reward) if self._learns_sign else raw_reward,
            raw_reward=raw_reward,
            game_over=over,
            life_lost=np.zeros(self.num_lanes, np.bool_),
            truncated=cut,
            started=started,
        )

    def render(self, lane: int) -> np.ndarray:
        """Raises ValueError for a vector environment created without `render=True`."""
        if not self._drawable:
            if not self.spec.is_image:
                raise ValueError("a picture of a vector environment needs make_env(..., render=True)")
            return picture(self._frame[lane])
        drawn = self._call(lane, "render()", self._envs[lane].render)
        image = np.asarray(drawn)
        if image.ndim != 3 or image.shape[2] != 3:
            self._fail(lane, f"render() gave {type(drawn).__name__} {list(image.shape)}; [H, W, 3] is needed")
        return image.astype(np.uint8, copy=False)

    def close(self) -> None:
        for lane, env in enumerate(self._envs):
            self._call(lane, "close()", env.close)

    def _begin(self, lane: int) -> np.ndarray:
        """The first frame of the lane's next game."""
        stream = keyed_random.ENV_SEED
        seed = keyed_random.seed_for(self._seed, stream, self._first_lane + lane, self._game[lane])
        self._game[lane] += 1
        self._steps[lane] = 0
        result = self._call(lane, "reset()", lambda: self._envs[lane].reset(seed=seed))
        if not isinstance(result, tuple) or len(result) != 2:
            self._fail(lane, f"reset() gave {_shown(result)}; a tuple of observation and info is needed")
        observation, info = result
        self._refuse_mask(lane, info)
        return self._to_frame(lane, observation)

    def _act(self, lane: int, action: int) -> tuple[np.ndarray, np.float32, bool, bool]:
        """Frame, reward, whether the game is over, whether it was cut off."""
        result = self._call(lane, "step()", lambda: self._envs[lane].step(action), action)
        if not isinstance(result, tuple) or len(result) != 5:
            self._fail(lane, f"step() gave {_shown(result)}; a tuple of {_STEP_RESULT} is needed", action)
        observation, reward, over, cut, info = result
        self._steps[lane] += 1
        self._refuse_mask(lane, info, action)
        return self._to_frame(lane, observation, action), self._to_number(lane, reward, action), bool(over), bool(cut)

    def _to_frame(self, lane: int, observation: Any, action: int | None = None) -> np.ndarray:
        """An observation in the format of `spec`."""
        space = self._space
        if not isinstance(space, spaces.Box):
            flat = self._call(
                lane,
                f"its observation {_shown(observation)} is not of its space {space}, which",
                lambda: spaces.flatten(space, observation),
                action,
            )
            return self._finite(lane, flat, self.spec.shape, action)
        array = np.asarray(observation)
        if array.shape != space.shape:
            self._fail(lane, f"an observation has shape {array.shape}, its space {space.shape}", action)
        if not self.spec.is_image:
            return self._finite(lane, array, self.spec.shape, action)
        if not np.can_cast(array.dtype, np.uint8, "same_kind"):
            self._fail(lane, f"an image has type {array.dtype}, its space uint8", action)
        height_px, width_px, channels = self.spec.shape
        image = np.atleast_3d(array)
        if channels < image.shape[2]:
            image = to_gray(image)
        return resize_area(image, height_px=height_px, width_px=width_px)

    def _finite(self, lane: int, array: np.ndarray, shape: tuple[int, ...], action: int | None) -> np.ndarray:
        """As float32. Raises GameError for values that are not numbers, not finite, or beyond float32's range."""
        numbers = self._as_float32(array)
        if numbers is None:
            self._fail(lane, f"an observation is {_shown(array)}, not of numbers", action)
        if not np.isfinite(numbers).all():
            where = int(np.flatnonzero(~np.isfinite(numbers))[0])
            value = np.asarray(array).reshape(-1)[where]
            self._fail(lane, f"observation[{where}] is {value}, as float32 {numbers.reshape(-1)[where]}", action)
        return numbers.reshape(shape)

    def _to_number(self, lane: int, reward: Any, action: int) -> np.float32:
        number = self._as_float32(reward)
        if number is None or number.size != 1:
            self._fail(lane, f"a reward is {_shown(reward)}; a number is needed", action)
        value = number.reshape(-1)[0]
        if not np.isfinite(value):
            self._fail(lane, f"a reward is {_shown(reward)}, as float32 {value}; a finite number is needed", action)
        return value

    @staticmethod
    def _as_float32(value: Any) -> np.ndarray | None:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            return None
        with np.errstate(over="ignore"):  # infinite values are refused by the caller
            return array.astype(np.float32)

    def _refuse_mask(self, lane: int, info: Any, action: int | None = None) -> None:
        if self._config.action_mask == "refuse" and isinstance(info, dict) and MASK_KEY in info:
            self._fail(
                lane,
                f"info[{MASK_KEY!r}] marks legal actions, but the search takes every action in every position; if "
                "the game accepts that, as Taxi does, set env.action_mask=ignore",
                action,
            )

    def _call(self, lane: int, what: str, function: Callable[[], Any], action: int | None = None) -> Any:
        """Call the game; its exceptions, SystemExit included, become a GameError."""
        try:
            return function()
        except (Exception, SystemExit) as error:
            old_step = isinstance(error, ValueError) and "values to unpack" in str(error)  # from a Gymnasium wrapper
            hint = f"; step() must return {_STEP_RESULT}" if old_step and action is not None else ""
            self._fail(lane, f"{what} failed: {_described(error)}{hint}", action, error)

    def _fail(self, lane: int, what: str, action: int | None = None, cause: BaseException | None = None) -> NoReturn:
        acted = "" if action is None else f", action {action}"
        where = f"lane {self._first_lane + lane}, game {self._game[lane] - 1}, step {self._steps[lane]}{acted}"
        raise GameError(f"env.game={self._config.game!r}: {what} ({where})") from cause


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {_one_line(error)}"


def _shown(value: Any) -> str:
    """A value's type and shortened repr, for error messages."""
    text = _one_line(repr(value))
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
