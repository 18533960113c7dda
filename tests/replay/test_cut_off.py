"""An actor dies and its successor begins new games: what becomes of the lanes, by hand and on random ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.replay.shard import Shard, ShardShape
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, Lane, Row, made_up_lane, shapes, tick

ROWS = 24
FLAGS = ("first", "terminal", "truncated", "last")


def make_shard(lanes=1, *, rows=ROWS, actors=1) -> Shard:
    return Shard(
        ShardShape(lanes=lanes, rows=rows, spec=SPEC, num_actions=NUM_ACTIONS, stack=2, lookahead=4, actors=actors)
    )


def hand_lane(offset: int) -> Lane:
    """After `offset` rows of another game: rows 0-2 a life, 3-5 the next one until the game is over, 6 its last row,
    7-8 a game that a limit ends, 9 its last row."""
    lane = Lane()
    if offset:
        lane.add([1] * (offset - 1), [-9.0] * (offset - 1), GAME_OVER)
    for length, end in ((3, LIFE), (3, GAME_OVER), (2, LIMIT), (20, GAME_OVER)):
        lane.add([2] * length, [4.0] * length, end)
    return lane


def flags_of(shard: Shard, begin: int, end: int) -> list[set[str]]:
    """Names of the flags of a lane's rows."""
    return [{name for name in FLAGS if getattr(shard, name)[0, row % shard.rows]} for row in range(begin, end)]


@pytest.mark.parametrize("offset", [0, 13, 17, 20, 23, 24, 29])  # in 24 rows: wraps nowhere, everywhere, before row 0
@pytest.mark.parametrize(
    ("rows", "ending"),
    [
        # what the rows of the game that was cut look like afterwards, up to the last one committed
        (1, [{"first", "last"}]),  # a game's first row: nothing was acted that could be told of
        (2, [{"first", "truncated"}, {"last"}]),
        (3, [{"first"}, {"truncated"}, {"last"}]),  # the life that was lost in the last row is not known of any more
        (4, [{"terminal"}, {"first", "last"}]),  # the next life's first row: the end before it stands
        (5, [{"terminal"}, {"first", "truncated"}, {"last"}]),
        (6, [{"first"}, {"truncated"}, {"last"}]),  # the game was over, but its final observation never came
        (7, [{"terminal"}, {"last"}]),  # a last row already
        (8, [{"last"}, {"first", "last"}]),  # a game's first row again
        (9, [{"first", "truncated"}, {"last"}]),  # the limit's row, without the final observation
        (10, [{"truncated"}, {"last"}]),
    ],
)
def test_by_hand(offset, rows, ending):
    lane, shard = hand_lane(offset), make_shard()
    for row in range(offset + rows):
        shard.append(tick([lane], row))
    before = {name: getattr(shard, name).copy() for name in shard.shape.fields()}
    shard.cut_off(actor=0)
    head = offset + rows
    assert flags_of(shard, head - len(ending), head) == ending
    final = (head - 1) % ROWS
    assert shard.action[0, final] == shard.reward[0, final] == shard.raw_reward[0, final] == 0
    touched = np.zeros((1, ROWS), bool)
    touched[0, [final, final - 1]] = True
    for name, array in before.items():
        if name in ("frame", "first", "root_value", "visit_policy", "actor_version", "priority", "stamp"):
            np.testing.assert_array_equal(getattr(shard, name), array)
        elif array.shape == touched.shape:
            np.testing.assert_array_equal(getattr(shard, name)[~touched], array[~touched])
    assert shard.action[0, final - 1] == before["action"][0, final - 1]
    assert shard.reward[0, final - 1] == before["reward"][0, final - 1]
    assert shard.ticks.tolist() == shard.head.tolist() == [head]

    after = {name: getattr(shard, name).copy() for name in before}
    shard.cut_off(actor=0)  # twice in a row: a successor that died before its first row
    for name, array in after.items():
        np.testing.assert_array_equal(getattr(shard, name), array)


def test_a_successor_that_dies_after_one_row():
    shard, lane = make_shard(), hand_lane(0)
    for row in range(5):
        shard.append(tick([lane], row))
    shard.cut_off(actor=0)
    shard.append(tick([lane], 0))
    shard.cut_off(actor=0)
    shard.append(tick([lane], 0))
    ending = [{"terminal"}, {"first", "truncated"}, {"last"}, {"first", "last"}, {"first"}]
    assert flags_of(shard, 2, 7) == ending
    stack = shard.stack_steps(np.array([0, 0, 0]), np.array([4, 5, 6]))
    assert stack.tolist() == [[3, 4], [5, 5], [6, 6]]  # the successor's games begin with stacks of their own


def test_other_actors_lanes_are_left_alone():
    lanes = [hand_lane(0) for _ in range(4)]
    shard, alone = (make_shard(4, actors=2) for _ in range(2))
    for row in range(5):
        for made in (shard, alone):
            made.append(tick(lanes[:2], row), actor=0)
            made.append(tick(lanes[:2], row), actor=1)
    shard.cut_off(actor=1)
    for name in shard.shape.fields():
        if name not in ("ticks", "largest_priority"):
            np.testing.assert_array_equal(getattr(shard, name)[:2], getattr(alone, name)[:2])
    assert shard.last[:, 4].tolist() == [False, False, True, True]
    assert shard.truncated[:, 3].tolist() == [False, False, True, True]


@given(st.lists(shapes(), min_size=1, max_size=3), st.integers(1, 70))
def test_a_game_cut_off_is_a_game_that_a_limit_ended(lane_shapes, head):
    """Every array is that of lanes in which a limit fell where the actor died, so all targets are those, too."""
    lanes = [made_up_lane(shape, lane=lane, min_rows=head + 1) for lane, shape in enumerate(lane_shapes)]
    expected_lanes = [cut(lane, head) for lane in lanes]
    after = made_up_lane([(3, LIFE), (4, LIMIT), (5, GAME_OVER)], min_rows=30)
    for lane in expected_lanes:
        lane.rows += after.rows
    shard, expected = make_shard(len(lanes)), make_shard(len(lanes))
    for row in range(head + 20):
        expected.append(tick(expected_lanes, row))
    for row in range(head):
        shard.append(tick(lanes, row))
    shard.cut_off(actor=0)
    for row in range(head, head + 20):
        shard.append(tick(expected_lanes, row))
    for name in shard.shape.fields():
        if name != "env_steps":  # the last actions were taken, though nobody learns from them
            np.testing.assert_array_equal(getattr(shard, name), getattr(expected, name), err_msg=name)


def cut(lane: Lane, head: int) -> Lane:
    """The same episodes, the one that acts in row `head - 1` ended by a limit before it: that row is its last."""
    episode, acted = lane.find(head - 1)
    result = Lane()
    for before in lane.episodes[: lane.episodes.index(episode)]:
        result.add(before.actions, before.rewards, before.end)
    if lane.rows[head - 1].last:
        result.add(episode.actions, episode.rewards, episode.end)
    elif acted:
        result.add(episode.actions[:acted], episode.rewards[:acted], LIMIT)
    else:
        result.rows.append(Row(0, 0.0, first=True, last=True))
    assert len(result.rows) == head
    return result
