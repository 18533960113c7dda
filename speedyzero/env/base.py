"""The interface of environments to actor and evaluator, a batch of lanes stepped in lockstep, and the interface of game
families to `registry.py`, which creates environments.

Axes: E lanes, ... an observation's own axes ([H, W, C] uint8 for an image, [D] float32 for a vector).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from speedyzero.config import EnvConfig


@dataclass(frozen=True)
class ObservationSpec:
    """One frame of one lane (unstacked)."""

    shape: tuple[int, ...]  # (H, W, C) for an image, (D,) for a vector
    dtype: np.dtype  # uint8 for an image, float32 for a vector

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3


@dataclass(frozen=True)
class GameInfo:
    """The properties of a game that a run needs before it creates environments."""

    kind: str  # the family's: "atari", "minatar", "gymnasium" or "catch"
    name: str  # in its usual spelling: "MsPacman", "MinAtar/Breakout-v1", "CartPole-v1", "Catch"
    spec: ObservationSpec
    num_actions: int
    has_limit: bool = True
    """False: the game has no limit of its own, so `env.train_limit_frames` and `env.eval_limit_frames` apply."""
    frames_per_second: float | None = None
    """The game's own frame rate for videos."""


class GameError(RuntimeError):
    """A game raised an exception or returned invalid data; the one-line message names lane, game and step."""


def learns_sign(config: EnvConfig, kind: str) -> bool:
    """Whether training uses the sign of the rewards in a game of this kind."""
    return config.clip_reward == "true" or (config.clip_reward == "auto" and kind == "atari")


@dataclass(frozen=True)
class EnvStep:
    """The result of one tick. A lane whose game ended in the previous tick ignores its action and begins a new game
    (`started`): its reward is 0 and its frame is the new game's first. A lane has at most one of the four flags."""

    frame: np.ndarray  # [E, ...]: the current frame; at a game's end its final one
    reward: np.ndarray  # [E] float32: for training (clipped if configured)
    raw_reward: np.ndarray  # [E] float32: the game's own
    game_over: np.ndarray  # [E] bool: the game ended by itself
    life_lost: np.ndarray  # [E] bool: a life was lost and play continues
    truncated: np.ndarray  # [E] bool: a limit cut off a game that was not over
    started: np.ndarray  # [E] bool: this tick began a new game instead of acting


class LaneEnv(Protocol):
    """E parallel environments. Every new game of lane e is seeded by (seed, e, number of the game), so a lane does not
    depend on the others."""

    num_lanes: int
    num_actions: int
    spec: ObservationSpec

    def reset(self, first_game: int = 0) -> np.ndarray:
        """Begin the game of this number in every lane, aborting current games; the first frames, [E, ...]."""
        ...

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        """Begin the games of these numbers in the masked lanes, aborting current games; all lanes' frames, [E, ...].

        mask: [E] bool; game: [E] int64, read where the mask is True. Later games of these lanes count on from there.
        """
        ...

    def step(self, action: np.ndarray) -> EnvStep:
        """Act in every lane. action: [E] int64. The returned arrays are not modified later."""
        ...

    def render(self, lane: int) -> np.ndarray:
        """An image of one lane for a video, [H, W, 3] uint8."""
        ...

    def close(self) -> None: ...


class GameFamily(Protocol):
    """The games of one module of this package; the module has these members and is listed in `registry.FAMILIES`."""

    EXAMPLE: str  # for error messages: "Atari game (Pong)"

    def known_names(self) -> Collection[str]:
        """Names suggested for an unknown `env.game`."""
        ...

    def find(self, config: EnvConfig) -> GameInfo | None:
        """The game named by `config.game`; None if it is not in this family. Takes well under a second.

        Raises ValueError, in one line with the reason, for a game of this family that cannot be played.
        """
        ...

    def make(
        self,
        config: EnvConfig,
        game: GameInfo,
        *,
        lanes: int,
        seed: int,
        first_lane: int,
        evaluation: bool,
        render: bool,
    ) -> LaneEnv:
        """`lanes` environments of a game returned by `find`; other arguments as in `registry.make_env`."""
        ...

    def action_names(self, config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
        """The game's names of its actions, or numbers if it has none."""
        ...
