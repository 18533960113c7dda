"""An actor dies and its successor begins new games: what becomes of the lanes.

By hand: tests/reanalyze/test_takeover.py and, for the targets, test_targets.py there.
"""

import numpy as np
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


def flags_of(shard: Shard, begin: int, end: int) -> list[set[str]]:
    """Names of the flags of a lane's rows."""
    return [{name for name in FLAGS if getattr(shard, name)[0, row % shard.rows]} for row in range(begin, end)]


def test_a_successor_that_dies_after_one_row():
    shard, lane = make_shard(), made_up_lane([(3, LIFE), (20, GAME_OVER)])
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
    lanes = [made_up_lane([(3, LIFE), (20, GAME_OVER)], lane=lane) for lane in range(4)]
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


WRAPS = (ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1)  # the last row is the lane's last one, or its first again


@given(
    st.lists(shapes(), min_size=1, max_size=3), st.one_of(st.integers(1, 70), st.sampled_from(WRAPS)), st.integers(1, 2)
)
def test_a_game_cut_off_is_a_game_that_a_limit_ended(lane_shapes, head, times):
    """Every array is that of lanes in which a limit fell where the actor died, so all targets are those, too. Twice in
    a row: a successor that died before its first row."""
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
    for _ in range(times):
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
