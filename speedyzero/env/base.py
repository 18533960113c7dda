"""What every environment looks like to the actor and the evaluator: a batch of lanes stepped in lock-step.

And what every family of games looks like to `registry.py`, which makes environments.

Axes: E lanes, ... an observation's own axes ([H, W, C] uint8 for an image, [D] float32 for a vector).
"""

from __future__ import annotations

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
    """What a run has to know of its game before it makes any environment."""

    kind: str  # the family's: "atari", "minatar", "gymnasium" or "catch"
    name: str  # as the field spells it: "MsPacman", "MinAtar/Breakout-v1", "CartPole-v1", "Catch"
    spec: ObservationSpec
    num_actions: int
    has_limit: bool = True
    """False: the game never cuts itself off, so `env.train_limit_frames` and `env.eval_limit_frames` do."""
    frames_per_second: float | None = None
    """At which the game says that it is watched."""


class GameError(RuntimeError):
    """A game raised something, or returned what cannot be used; the message, one line, says where in play."""


def learns_sign(config: EnvConfig, kind: str) -> bool:
    """Whether a game of this kind is learnt from the signs of its rewards."""
    return config.clip_reward == "true" or (config.clip_reward == "auto" and kind == "atari")


@dataclass(frozen=True)
class EnvStep:
    """What one tick brought. A lane whose game ended last tick ignores its action and begins a new game instead
    (`started`): its reward is 0, its flags are False, its frame is the new game's first. A lane never has more than
    one of the four flags."""

    frame: np.ndarray  # [E, ...]: what the lane shows now; after a game's end its final frame
    reward: np.ndarray  # [E] float32: to learn from (clipped where configured)
    raw_reward: np.ndarray  # [E] float32: the game's own
    game_over: np.ndarray  # [E] bool: the game truly ended
    life_lost: np.ndarray  # [E] bool: a life was lost and play goes on
    truncated: np.ndarray  # [E] bool: a limit cut off a game that was not over
    started: np.ndarray  # [E] bool: this tick began a new game instead of acting


class LaneEnv(Protocol):
    """E environments side by side. Every new game of lane e is seeded by (seed, e, number of the game), so a lane
    replays the same whatever the other lanes do."""

    num_lanes: int
    num_actions: int
    spec: ObservationSpec

    def reset(self, first_game: int = 0) -> np.ndarray:
        """Begin the game of this number in every lane, also when games were under way; the first frames, [E, ...]."""
        ...

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        """Begin the games of these numbers in the lanes of a mask, whatever they play; all lanes' frames, [E, ...].

        mask: [E] bool; game: [E] int64, read where the mask is. The lanes' next games have the numbers that follow.
        """
        ...

    def step(self, action: np.ndarray) -> EnvStep:
        """Act in every lane. action: [E] int64. The arrays returned are never written to again."""
        ...

    def render(self, lane: int) -> np.ndarray:
        """A picture of one lane for a video, [H, W, 3] uint8."""
        ...

    def close(self) -> None: ...


class GameFamily(Protocol):
    """Games that one module of this folder plays: the module itself offers these, and stands in `registry.FAMILIES`."""

    EXAMPLE: str  # what a refusal says that it looked for: "Atari game (Pong)"

    def known_names(self) -> Collection[str]:
        """Names to choose a hint from where `env.game` names no game."""
        ...

    def find(self, config: EnvConfig) -> GameInfo | None:
        """The game that `config.game` names; None where it is not one of this family. Well under a second.

        Raises ValueError, in one line, for a game of this family that cannot be played, and why.
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
        """`lanes` environments of a game that `find` found; the rest as `registry.make_env`'s."""
        ...

    def action_names(self, config: EnvConfig, game: GameInfo) -> tuple[str, ...]:
        """What the game calls its actions; numbers where it calls them nothing."""
        ...
