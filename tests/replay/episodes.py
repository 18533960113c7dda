"""Lanes as lists of episode objects, one object per step: the slow oracle for the shard, the targets and the actor.

An episode here is what the targets call one: it also ends with a life. Its last observation is a row of its own (after
a game over or a limit) or the next episode's first row (after a lost life).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from speedyzero.env.base import ObservationSpec
from speedyzero.topology.records import StepRecord

GAME_OVER, LIFE, LIMIT, LIFE_AND_LIMIT = "game over", "life", "limit", "life and limit"
ENDS = (GAME_OVER, LIFE, LIMIT, LIFE_AND_LIMIT)
SPEC = ObservationSpec((4,), np.dtype(np.float32))  # a frame names its place and looks unlike its neighbours
NUM_ACTIONS = 3


@dataclass
class Row:
    """What one row of the shard must hold."""

    action: int
    reward: float
    first: bool = False
    terminal: bool = False
    truncated: bool = False
    last: bool = False


@dataclass
class Episode:
    """Its steps lie in rows start, start + 1, ...; the observation after the last of them in the row that follows."""

    start: int
    actions: list[int]
    rewards: list[float]
    end: str

    @property
    def length(self) -> int:
        return len(self.actions)

    @property
    def is_cut(self) -> bool:
        """Ended by a limit alone: something of value would have come."""
        return self.end == LIMIT

    def observation_row(self, i: int) -> int:
        """The row of the observation after i actions; i may be the episode's length."""
        assert 0 <= i <= self.length
        return self.start + i

    def stack_rows(self, i: int, stack: int) -> list[int]:
        """Rows of the frames in the stack after i actions, oldest first."""
        return [self.observation_row(max(0, i - age)) for age in reversed(range(stack))]

    def value(self, i: int, *, td_steps: int, discount: float, value_of_row) -> float:
        """The value target of the state after i actions, which may be past the end."""
        summed = min(td_steps, max(self.length - i, 0))
        z = sum(discount**k * self.rewards[i + k] for k in range(summed))
        reached = min(i + summed, self.length)
        if reached < self.length or self.is_cut:
            z += discount**summed * value_of_row(self.observation_row(reached))
        return z

    def prefix(self, i: int, j: int, *, horizon: int) -> float:
        """The value prefix after action j of an unroll that begins after i actions."""
        begin = j if horizon == 0 else j - j % horizon
        return sum(self.rewards[i + begin : i + j + 1])


@dataclass
class Lane:
    """Episodes one after the other, and the rows that they fill."""

    episodes: list[Episode] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, actions: list[int], rewards: list[float], end: str) -> Lane:
        self.episodes.append(Episode(len(self.rows), actions, rewards, end))
        begin = len(self.rows)
        self.rows += [Row(action, reward) for action, reward in zip(actions, rewards, strict=True)]
        self.rows[begin].first = True
        self.rows[-1].terminal = end != LIMIT
        self.rows[-1].truncated = end in (LIMIT, LIFE_AND_LIMIT)
        if end != LIFE:
            self.rows.append(Row(0, 0.0, last=True))
        return self

    def find(self, row: int) -> tuple[Episode, int]:
        """The episode that acted in a row, and how many actions it had taken before."""
        episode = next(e for e in reversed(self.episodes) if e.start <= row)
        return episode, row - episode.start


def made_up_lane(shapes: list[tuple[int, str]], *, lane: int = 0, min_rows: int = 0) -> Lane:
    """Episodes of these (length, end), repeated until `min_rows` are filled. No two rewards of a lane are alike."""
    result = Lane()
    while not result.episodes or len(result.rows) < min_rows:
        for length, end in shapes:
            rows = range(len(result.rows), len(result.rows) + length)
            actions = [(7 * row + lane) % NUM_ACTIONS for row in rows]
            result.add(actions, [(row % 97 + 1) * (-0.25 if row % 3 else 0.5) for row in rows], end)
    return result


def tick(lanes: list[Lane], row: int, *, actor_version: int = 0) -> StepRecord:
    """One row of every lane as the actor sends them."""
    rows = [lane.rows[row] for lane in lanes]
    count = len(lanes)
    number = np.arange(count)

    def column(name: str, dtype) -> np.ndarray:
        return np.array([getattr(r, name) for r in rows], dtype)

    return StepRecord(
        frame=frames(number, np.full(count, row)),
        action=column("action", np.int16),
        reward=column("reward", np.float32),
        raw_reward=10 * column("reward", np.float32),
        first=column("first", np.bool_),
        terminal=column("terminal", np.bool_),
        truncated=column("truncated", np.bool_),
        last=column("last", np.bool_),
        root_value=(100 * number + row).astype(np.float32),
        visit_policy=visit_policy(number, np.full(count, row)),
        actor_version=np.full(count, actor_version, np.int64),
    )


def blank_step(frame: np.ndarray, *, num_actions: int, first: np.ndarray) -> StepRecord:
    """A tick in which nothing happened but what is seen. frame: [E, ...], first: [E]."""
    lanes = len(frame)
    none, numbers = np.zeros(lanes, np.bool_), np.zeros(lanes, np.float32)
    return StepRecord(
        frame, np.zeros(lanes, np.int16), numbers, numbers, first, none, none, none, numbers,
        np.zeros((lanes, num_actions), np.float32), np.zeros(lanes, np.int64),
    )  # fmt: skip


def frames(lane, row) -> np.ndarray:
    """The frames of places, [..., 4]: lane and row, and two numbers that tell any two rows apart at a glance."""
    lane, row = np.broadcast_arrays(lane, row)
    return np.stack([lane, row / 16, 4 * np.sin(2.4 * row), 4 * np.cos(1.7 * row + lane)], axis=-1).astype(np.float32)


def stack_of(number: int, lane: Lane, row: int, *, stack: int) -> np.ndarray:
    """The stacked observation at a row of lane `number`, [1, S, 4]; a last row belongs to the episode before it."""
    if lane.rows[row].last:
        episode = lane.find(row - 1)[0]
        i = episode.length
    else:
        episode, i = lane.find(row)
    return frames(number, np.array(episode.stack_rows(i, stack)))[None]


def visit_policy(lane, row) -> np.ndarray:
    """The actor's policy at places [N], [N, A]: unlike at any two of a lane."""
    odds = 1.0 + np.stack([lane, row, (row * row) % 13], axis=-1)
    return (odds / odds.sum(-1, keepdims=True)).astype(np.float32)


def shapes(max_length: int = 7, ends=ENDS) -> st.SearchStrategy[list[tuple[int, str]]]:
    """Random episodes for `made_up_lane`."""
    return st.lists(st.tuples(st.integers(1, max_length), st.sampled_from(ends)), min_size=1, max_size=8)
