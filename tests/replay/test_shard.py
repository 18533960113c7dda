"""Stacks, windows and eligibility by hand, and against lanes kept as lists of episode objects."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.arguments.resolve import resolve
from speedyzero.env.base import ObservationSpec
from speedyzero.replay.shard import Shard, ShardShape, shard_shape
from tests.refusal import refusal
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, Lane, frames, made_up_lane, shapes, tick


def make_shard(lanes=1, rows=64, stack=3, lookahead=4) -> Shard:
    shard = Shard(
        ShardShape(lanes=lanes, rows=rows, spec=SPEC, num_actions=NUM_ACTIONS, stack=stack, lookahead=lookahead)
    )
    for array in vars(shard).values():  # memory that was never written must not look like anything
        if isinstance(array, np.ndarray) and array is not shard.head:
            array.fill(True if array.dtype == np.bool_ else 99)
    return shard


def fill(shard: Shard, lanes: list[Lane], count: int | None = None) -> None:
    count = min(len(lane.rows) for lane in lanes) if count is None else count
    for row in range(int(shard.head[0]), count):
        shard.append(tick(lanes, row))


def rows_in(frame: np.ndarray) -> list[int]:
    """The rows that frames [N, 4] come from."""
    return (frame[:, 1] * 16).astype(int).tolist()


def stack_rows(shard: Shard, step: int) -> list[int]:
    return rows_in(shard.gather_stacks(np.array([0]), np.array([step]))[0])


def window_rows(shard: Shard, step: int, unroll_steps: int) -> list[int]:
    return rows_in(shard.gather_windows(np.array([0]), np.array([step]), unroll_steps=unroll_steps)[0])


def hand_lane() -> Lane:
    """Rows 0-2 a life, 3-5 the next one until the game is over, 6 its last row, 7-8 a game cut off, 9 its last row, 10-
    a long life."""
    lane = Lane()
    for length, end in ((3, LIFE), (3, GAME_OVER), (2, LIMIT), (40, GAME_OVER)):
        lane.add([0] * length, [0.0] * length, end)
    return lane


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [0, 0, 0]),  # the first frame of a game is repeated
        (1, [0, 0, 1]),
        (2, [0, 1, 2]),
        (3, [3, 3, 3]),  # the first frame of a life too
        (4, [3, 3, 4]),
        (6, [4, 5, 6]),  # the last row belongs to the game that ended
        (7, [7, 7, 7]),
        (9, [7, 8, 9]),
        (10, [10, 10, 10]),
    ],
)
def test_stacks_by_hand(step, expected):
    shard = make_shard()
    fill(shard, [hand_lane()])
    assert stack_rows(shard, step) == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [0, 0, 0, 1, 2]),
        (1, [0, 0, 1, 2, 3]),  # the state past the life's end sees rows 1, 2, 3: its stack continues
        (4, [3, 3, 4, 5, 6]),  # past a game over: the last row
        (7, [7, 7, 7, 8, 9]),
        (8, [7, 7, 8, 9, 10]),
    ],
)
def test_windows_by_hand(step, expected):
    shard = make_shard()
    fill(shard, [hand_lane()])
    assert window_rows(shard, step, unroll_steps=2) == expected


def test_rows_are_kept_as_they_came():
    lanes = [made_up_lane([(3, LIFE), (2, LIMIT), (4, GAME_OVER)], lane=lane, min_rows=90) for lane in range(2)]
    shard = make_shard(lanes=2, rows=40)
    fill(shard, lanes, 90)
    for step in range(50, 90):
        record = tick(lanes, step)
        for name, value in vars(record).items():
            np.testing.assert_array_equal(getattr(shard, name)[:, step % 40], value, err_msg=f"{name} of {step}")
    assert shard.head.tolist() == [90, 90]


@given(st.lists(shapes(), min_size=1, max_size=2), st.integers(1, 5), st.integers(1, 6), st.integers(0, 60))
def test_stacks_and_windows_of_random_lanes(lane_shapes, stack, unroll_steps, extra):
    """Every eligible position, in lanes that wrapped around or not."""
    rows = 2 * (unroll_steps + 2 + stack)
    lanes = [made_up_lane(shape, lane=lane, min_rows=rows + 70) for lane, shape in enumerate(lane_shapes)]
    shard = make_shard(len(lanes), rows, stack, lookahead=unroll_steps + 2)
    fill(shard, lanes, rows + extra)
    for number, lane in enumerate(lanes):
        for step in range(int(shard.oldest_eligible()[number]), int(shard.newest_eligible()[number]) + 1):
            if lane.rows[step].last:
                continue
            episode, i = lane.find(step)
            states = min(unroll_steps, episode.length - i) + 1  # those within the episode, and the first past its end
            window = shard.gather_windows(np.array([number]), np.array([step]), unroll_steps=unroll_steps)[0]
            for j in range(states):
                expected = frames(number, np.array(episode.stack_rows(i + j, stack)))
                np.testing.assert_array_equal(window[j : j + stack], expected)
                if j < states - 1 or episode.end != LIFE:  # after a lost life the row belongs to the next one
                    looked_up = shard.gather_stacks(np.array([number]), np.array([step + j]))[0]
                    np.testing.assert_array_equal(looked_up, expected)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 30), st.integers(1, 90))
def test_eligible_window_by_brute_force(stack, lookahead, spare, ticks):
    """Between oldest and newest: the stack is left alone by the next ticks, the lookahead is already there."""
    rows = 2 * (lookahead + stack) + spare
    shard = make_shard(1, rows, stack, lookahead)
    lane = made_up_lane([(5, GAME_OVER)], min_rows=ticks)
    fill(shard, [lane], ticks)
    slot_owner = {step % rows: step for step in range(ticks)}
    for upcoming in range(ticks, ticks + shard.shape.guard):
        slot_owner[upcoming % rows] = upcoming

    def survives(step: int) -> bool:
        # Rows before the lane's first count as ordinary rows: they are never read, but the window is plain arithmetic.
        return step > ticks - 1 + shard.shape.guard - rows if step < 0 else slot_owner[step % rows] == step

    for step in range(ticks):
        expected = step + lookahead < ticks and all(survives(step - age) for age in range(stack))
        assert (shard.oldest_eligible()[0] <= step <= shard.newest_eligible()[0]) == expected, step


def test_play_that_could_overwrite_a_batch_in_flight_is_refused():
    """16 lanes, slack 480 env steps: 30 rows, and 3 batches of 4 env steps make it 31; the guard is 32."""
    settings = ["replay.capacity_steps=4000", "schedule.env_steps=8500", "schedule.pacing_slack_env_steps="]
    spec = ObservationSpec((4,), np.dtype(np.float32))
    assert shard_shape(resolve("cartpole", overrides=[*settings[:2], settings[2] + "480"]), spec, 2).rows == 250
    more = resolve("cartpole", overrides=[*settings[:2], settings[2] + "512"])
    assert "33 rows" in refusal(shard_shape, more, spec, 2) and "13 rows" in refusal(make_shard, rows=13)


def test_env_steps_are_rows_but_for_final_observations():
    shard = make_shard()
    shard.env_steps.fill(0)
    fill(shard, [hand_lane()])
    assert shard.env_steps_of(0) == 3 + 3 + 2 + 40
