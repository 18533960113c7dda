"""The replay shard: E lanes of T rows, each lane the uninterrupted stream of one environment.

A position is (lane, step); its row lies at step % T. Nothing is cut into blocks or padded: a position's stack,
unroll and bootstrap are its neighbours in the lane. The reanalyzer writes; everyone else reads.

Eligible as a root is a position whose stack is still stored and whose lookahead is already stored:

    head - T + guard + stack - 1  <=  step  <  head - lookahead        and not `last`

The guard keeps the oldest rows, which the next ticks overwrite, out of batches that are still in flight.

Axes: E lanes, T rows, B positions, S stacked frames, K unroll steps, A actions, ... an observation's own axes.
"""

from __future__ import annotations

import numpy as np

from speedyzero.env.base import ObservationSpec
from speedyzero.records import StepRecord

GUARD_ROWS = 32


class Shard:
    """The rows of every lane. Raises ValueError where T is too short for one lookahead."""

    def __init__(self, *, lanes: int, rows: int, spec: ObservationSpec, num_actions: int, stack: int, lookahead: int):
        self.lanes, self.rows, self.stack, self.lookahead = lanes, rows, stack, lookahead
        if rows < 2 * (lookahead + stack):
            raise ValueError(f"a lane of {rows} rows is too short for twice a stack of {stack} + lookahead {lookahead}")
        self.guard = min(GUARD_ROWS, rows // 4)
        self.head = np.zeros(lanes, np.int64)  # rows ever written to each lane
        self.frame = np.zeros((lanes, rows, *spec.shape), spec.dtype)
        self.action = np.zeros((lanes, rows), np.int16)
        self.reward = np.zeros((lanes, rows), np.float32)
        self.raw_reward = np.zeros((lanes, rows), np.float32)
        self.first = np.zeros((lanes, rows), np.bool_)
        self.terminal = np.zeros((lanes, rows), np.bool_)
        self.truncated = np.zeros((lanes, rows), np.bool_)
        self.last = np.zeros((lanes, rows), np.bool_)
        self.root_value = np.zeros((lanes, rows), np.float32)
        self.visit_policy = np.zeros((lanes, rows, num_actions), np.float32)
        self.actor_version = np.zeros((lanes, rows), np.int64)

    def append(self, record: StepRecord) -> None:
        """Write one tick, one row to each lane."""
        lane = np.arange(self.lanes)
        slot = self.head % self.rows
        for name in vars(record):
            getattr(self, name)[lane, slot] = getattr(record, name)
        self.head += 1

    def newest_eligible(self) -> np.ndarray:
        """The step of each lane that the last append made eligible, [E]; negative while there is none."""
        return self.head - 1 - self.lookahead

    def oldest_eligible(self) -> np.ndarray:
        """The oldest step of each lane whose stack is kept, [E]."""
        return np.maximum(0, self.head - self.rows + self.guard + self.stack - 1)

    def stack_steps(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Steps of the frames stacked at each position, [B, S] oldest first; an episode's first frame repeats."""
        steps = np.empty((len(step), self.stack), np.int64)
        steps[:, -1] = step
        for i in range(self.stack - 2, -1, -1):
            newer = steps[:, i + 1]
            steps[:, i] = newer - ~self.first[lane, newer % self.rows]
        return steps

    def gather_stacks(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Stacked observations, [B, S, ...]. lane, step: [B] int64."""
        return self.frame[lane[:, None], self.stack_steps(lane, step) % self.rows]

    def gather_windows(self, lane: np.ndarray, step: np.ndarray, *, unroll_steps: int) -> np.ndarray:
        """A root's stack and the K frames after it, [B, S+K, ...]; unrolled state j's stack is window[j : j + S].

        Frames beyond the root's episode are whatever came next in the lane; the loss masks them.
        """
        past = self.stack_steps(lane, step)
        future = step[:, None] + np.arange(1, unroll_steps + 1)
        return self.frame[lane[:, None], np.concatenate([past, future], axis=1) % self.rows]

    def bytes(self) -> int:
        """Memory of all arrays."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, np.ndarray))
