"""Environments whose state can be restored by replaying their unfinished games.

Emulators cannot be copied, but a game is determined by (seed, lane, number of the game) and its actions, so only those
are recorded. Used by inline runs, whose checkpoints resume bit-exactly.

Axes: E lanes, N actions of all unfinished games.
"""

import numpy as np

from speedyzero.env.base import EnvStep, LaneEnv
from speedyzero.topology.role_state import RoleState

TAPE = ("game", "length", "action")


class TapedLanes:
    """Another environment's lanes, with a tape of each lane's game; see `base.LaneEnv`."""

    def __init__(self, env: LaneEnv):
        self._env = env
        self.num_lanes, self.num_actions, self.spec = env.num_lanes, env.num_actions, env.spec

    def reset(self, first_game: int = 0) -> np.ndarray:
        self._game = np.full(self.num_lanes, first_game, np.int64)  # number of each lane's game
        self._tapes: list[list[int]] = [[] for _ in range(self.num_lanes)]
        return self._env.reset(first_game)

    def begin(self, mask: np.ndarray, game: np.ndarray) -> np.ndarray:
        for lane in np.flatnonzero(mask).tolist():
            self._game[lane] = game[lane]
            self._tapes[lane] = []
        return self._env.begin(mask, game)

    def step(self, action: np.ndarray) -> EnvStep:
        outcome = self._env.step(action)
        for lane, (number, started) in enumerate(zip(action.tolist(), outcome.started.tolist(), strict=True)):
            if started:
                self._game[lane] += 1
                self._tapes[lane] = []
            else:
                self._tapes[lane].append(number)
        return outcome

    def tape(self) -> dict[str, np.ndarray]:
        """The arguments of `replay`: each lane's game and number of actions, [E] int64, and all actions, [N] int16."""
        lengths = np.array([len(tape) for tape in self._tapes], np.int64)
        actions = np.array([action for tape in self._tapes for action in tape], np.int16)
        return {"game": self._game.copy(), "length": lengths, "action": actions}

    def part(self) -> RoleState:
        """The tape as a checkpoint's role state."""
        return RoleState({}, self.tape())

    def replay(self, *, game: np.ndarray, length: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Play every lane's game to the end of its tape; the frames there, [E, ...].

        Lanes with short tapes start later, so that all end in the same tick.
        """
        self.reset()
        ticks = int(length.max())
        waits = ticks - length
        padded = np.zeros((ticks, self.num_lanes), np.int64)
        for lane, tape in enumerate(np.split(action, np.cumsum(length)[:-1])):
            padded[waits[lane] :, lane] = tape
        for tick in range(ticks):
            if (begins := waits == tick).any():
                self.begin(begins, game)
            frame = self.step(padded[tick]).frame
        if (begins := waits == ticks).any():  # games without any action yet
            frame = self.begin(begins, game)
        return frame

    def render(self, lane: int) -> np.ndarray:
        return self._env.render(lane)

    def close(self) -> None:
        self._env.close()
