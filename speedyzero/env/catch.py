"""Catch: a ball falls one row per step and the paddle must be under it when it lands (as in bsuite)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from speedyzero.config import EnvConfig
from speedyzero.env.base import EnvStep, GameInfo, ObservationSpec
from speedyzero.env.image import picture
from speedyzero.system import keyed_random

NAME = EXAMPLE = "Catch"
HEIGHT, WIDTH = 10, 5
ACTION_NAMES = ("LEFT", "STAY", "RIGHT")
NUM_ACTIONS = len(ACTION_NAMES)
SPEC = ObservationSpec((HEIGHT, WIDTH, 1), np.dtype(np.uint8))


def known_names() -> Collection[str]:
    return (NAME,)


def find(config: EnvConfig) -> GameInfo | None:
    return GameInfo("catch", NAME, SPEC, NUM_ACTIONS) if config.game.lower() == NAME.lower() else None


def make(
    config: EnvConfig, game: GameInfo, *, lanes: int, seed: int, first_lane: int, evaluation: bool, render: bool
) -> CatchLanes:
    return CatchLanes(lanes=lanes, seed=seed, first_lane=first_lane)


def action_names(config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
    return ACTION_NAMES


class CatchLanes:
    """E boards; see `base.LaneEnv`. A game ends after 9 steps with +1 for a catch or -1 for a miss."""

    num_actions = NUM_ACTIONS
    spec = SPEC

    def __init__(self, *, lanes: int, seed: int, first_lane: int = 0):
        self.num_lanes = lanes
        self._seed = seed
        self._lane = first_lane + np.arange(lanes)

    def reset(self, first_game: int = 0) -> np.ndarray:
        self._game, self._ball_row, self._ball_column, self._paddle = np.zeros((4, self.num_lanes), np.int64)
        self._game += first_game
        self._game_over = np.zeros(self.num_lanes, np.bool_)
        self._begin(np.ones(self.num_lanes, np.bool_))
        return self._draw()

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        self._game[mask], self._game_over[mask] = game[mask], False
        self._begin(mask)
        return self._draw()

    def step(self, action: np.ndarray) -> EnvStep:
        started = self._game_over
        self._paddle = np.clip(self._paddle + action - 1, 0, WIDTH - 1)
        self._ball_row += 1
        if started.any():
            self._begin(started)
        self._game_over = self._ball_row == HEIGHT - 1
        reward = (np.where(self._paddle == self._ball_column, 1, -1) * self._game_over).astype(np.float32)
        never = np.zeros(self.num_lanes, np.bool_)
        return EnvStep(self._draw(), reward, reward, self._game_over, never, never, started)

    def render(self, lane: int) -> np.ndarray:
        return picture(self._draw()[lane])

    def close(self) -> None:
        pass

    def _begin(self, mask: np.ndarray) -> None:
        """Begin the next game in each lane of `mask`, [E] bool."""
        game_keys = keyed_random.keys(self._seed, keyed_random.ENV_SEED, self._lane[mask], self._game[mask])
        self._ball_column[mask] = keyed_random.uniform(game_keys, 1)[:, 0] * WIDTH
        self._ball_row[mask] = 0
        self._paddle[mask] = WIDTH // 2
        self._game[mask] += 1

    def _draw(self) -> np.ndarray:
        frame = np.zeros((self.num_lanes, *SPEC.shape), np.uint8)
        lane = np.arange(self.num_lanes)
        frame[lane, self._ball_row, self._ball_column] = 255
        frame[lane, HEIGHT - 1, self._paddle] = 255
        return frame
