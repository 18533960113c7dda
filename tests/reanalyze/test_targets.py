"""Targets by hand across every kind of end, wherever the lane wraps, and against a slow oracle on random episodes.

The hand-worked lane, in which the value of row r is 100 r, the discount 1/2, K = 3:

    row         0  1  2 | 3  4  (5)| 6  7  (8)|  9  10  (11)| 12 13 14 ...        (r): a final observation's row
    reward      1  2  4 | 8  16    | 32 64    | 128 256     |  1  1  1
    the end      a life |   cut    |  game    | a life and  |
                  lost  |   off    |  over    |  cut off    |
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.reanalyze.targets import NO_STEP, TargetPlan, assemble_values, plan_targets, td_steps_by_age
from speedyzero.replay.shard import Shard, ShardShape
from tests.replay.episodes import (
    GAME_OVER,
    LIFE,
    LIFE_AND_LIMIT,
    LIMIT,
    NUM_ACTIONS,
    SPEC,
    Lane,
    made_up_lane,
    shapes,
    tick,
)

K = 3
NONE = NO_STEP
# Rows before the hand-worked lane in a shard of 24: it wraps nowhere, within each of its parts, and after a whole turn.
OFFSETS = (0, 13, 16, 18, 19, 20, 21, 22, 29)
ROWS = 24


def hand_lane(offset: int) -> Lane:
    """The hand-worked lane after `offset` rows of another game."""
    lane = Lane()
    if offset:
        lane.add([0] * (offset - 1), [-1000.0] * (offset - 1), GAME_OVER)
    for rewards, end in (([1, 2, 4], LIFE), ([8, 16], LIMIT), ([32, 64], GAME_OVER), ([128, 256], LIFE_AND_LIMIT)):
        lane.add([1] * (len(rewards) - 1) + [2], [float(r) for r in rewards], end)
    return lane.add([1] * 20, [1.0] * 20, GAME_OVER)


def hand_shard(offset: int, *, rows: int = 18) -> Shard:
    """The first rows of the hand-worked lane after `offset` rows of another game."""
    lane = hand_lane(offset)
    shard = Shard(
        ShardShape(lanes=1, rows=ROWS, spec=SPEC, num_actions=NUM_ACTIONS, stack=1, lookahead=K + 2, actors=1)
    )
    for row in range(offset + rows):
        shard.append(tick([lane], row))
    return shard


def plan_at(shard: Shard, step: int, *, td_steps=2, horizon=5, unroll_steps=K, discount=0.5, lane=0) -> TargetPlan:
    place = np.array([lane]), np.array([step]), np.array([td_steps])
    return plan_targets(shard, *place, unroll_steps=unroll_steps, discount=discount, prefix_horizon=horizon)


def values_by(plan: TargetPlan, value_of_row) -> list[float]:
    """The value targets of one sample. Where no bootstrap is asked for there is nothing to read."""
    bootstrap = [np.nan if step == NONE else value_of_row(step) for step in plan.bootstrap_step[0]]
    return assemble_values(plan, np.array([bootstrap], np.float32))[0].tolist()


HAND_WORKED_VALUES = [  # root, n, z_0 .. z_3
    (0, 2, [1 + 1 + 50, 2 + 2, 4, 0]),  # the life ends inside the sum: nothing is added; past it 0
    (0, 4, [1 + 1 + 1, 2 + 2, 4, 0]),
    (0, 1, [1 + 50, 2 + 100, 4, 0]),
    (1, 2, [2 + 2, 4, 0, 0]),
    (2, 2, [4, 0, 0, 0]),
    (3, 2, [8 + 8 + 125, 16 + 250, 500, 500]),  # cut off: discounted by the rewards there were; past it v(row 5)
    (3, 1, [8 + 200, 16 + 250, 500, 500]),
    (3, 5, [8 + 8 + 125, 16 + 250, 500, 500]),
    (4, 2, [16 + 250, 500, 500, 500]),
    (6, 2, [32 + 32, 64, 0, 0]),
    (6, 1, [32 + 350, 64, 0, 0]),
    (7, 2, [64, 0, 0, 0]),
    (9, 2, [128 + 128, 256, 0, 0]),  # a life lost in the tick of the limit is an end all the same
    (10, 2, [256, 0, 0, 0]),
    (12, 2, [1.5 + 350, 1.5 + 375, 1.5 + 400, 1.5 + 425]),
]


@pytest.mark.parametrize("offset", OFFSETS)
def test_values_by_hand(offset):
    shard = hand_shard(offset)
    for root, td_steps, expected in HAND_WORKED_VALUES:
        plan = plan_at(shard, offset + root, td_steps=td_steps)
        assert values_by(plan, lambda row: 100.0 * (row - offset)) == expected, (root, td_steps)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize(
    ("root", "horizon", "expected"),
    [
        (0, 5, [1, 3, 7]),
        (0, 3, [1, 3, 7]),
        (0, 2, [1, 3, 4]),  # a new prefix after two steps
        (0, 1, [1, 2, 4]),
        (0, 0, [1, 2, 4]),  # plain rewards
        (1, 2, [2, 6, 0]),  # resets count from the root; past the end there is none
        (3, 5, [8, 24, 0]),
        (4, 5, [16, 0, 0]),
        (6, 2, [32, 96, 0]),
        (9, 0, [128, 256, 0]),
        (12, 2, [1, 2, 1]),
    ],
)
def test_prefixes_by_hand(offset, root, horizon, expected):
    assert plan_at(hand_shard(offset), offset + root, horizon=horizon).prefix[0].tolist() == expected


@pytest.mark.parametrize("offset", OFFSETS)
def test_a_cut_off_game_bootstraps_from_its_final_row(offset):
    """The hand-worked lane, whose actor died after row 13: that row is final, row 12 the last that acted."""
    lane, shard = hand_lane(offset), hand_shard(offset, rows=14)
    shard.cut_off(actor=0)
    for row in [12, *[13] * 9]:  # the successor's first game
        shard.append(tick([lane], offset + row))
    for root, td_steps, expected in (
        (12, 2, [1 + 650, 1300, 1300, 1300]),  # one reward, then v(row 13), discounted once; past it v(row 13)
        (12, 1, [1 + 650, 1300, 1300, 1300]),
        (10, 2, [256, 0, 0, 0]),  # the end before it stands
        (14, 2, [1.5 + 400, 1.5 + 425, 1.5 + 450, 1.5 + 475]),  # the next game bootstraps within itself
    ):
        plan = plan_at(shard, offset + root, td_steps=td_steps)
        assert values_by(plan, lambda row: 100.0 * (row - offset)) == expected, (root, td_steps)
    plan = plan_at(shard, offset + 12)
    assert plan.action_mask[0].tolist() == [1, 0, 0] and plan.prefix[0].tolist() == [1, 0, 0]
    assert plan.policy_step[0].tolist() == [offset + 12, NONE, NONE, NONE]


@given(
    st.lists(shapes(), min_size=1, max_size=3),
    st.integers(0, 6),
    st.integers(1, 5),
    st.integers(0, 6),
    st.integers(0, 50),
)
def test_random_lanes_against_the_oracle(lane_shapes, unroll_steps, max_td_steps, horizon, extra):
    """Every eligible position of random lanes, planned as one batch with TD steps of their own."""
    lookahead = unroll_steps + max_td_steps
    rows, discount = 2 * (lookahead + 2), 0.9
    lanes = [made_up_lane(shape, lane=number, min_rows=rows + 60) for number, shape in enumerate(lane_shapes)]
    shard = Shard(
        ShardShape(lanes=len(lanes), rows=rows, spec=SPEC, num_actions=NUM_ACTIONS, stack=2, lookahead=lookahead)
    )
    for row in range(rows + extra):
        shard.append(tick(lanes, row))
    oldest, newest = int(shard.oldest_eligible()[0]), int(shard.newest_eligible()[0])
    positions = [(e, s) for e in range(len(lanes)) for s in range(oldest, newest + 1) if not lanes[e].rows[s].last]
    if not positions:
        return
    lane, step = np.array(positions).T
    td_steps = 1 + (lane + 3 * step) % max_td_steps
    plan = plan_targets(
        shard, lane, step, td_steps, unroll_steps=unroll_steps, discount=discount, prefix_horizon=horizon
    )
    value_of = np.random.default_rng(0).normal(size=(len(lanes), rows + 100))
    value = assemble_values(plan, value_of[lane[:, None], plan.bootstrap_step].astype(np.float32))
    assert plan.bootstrap_step.max() < shard.head[0]  # what is asked for is stored

    for b, (number, root) in enumerate(positions):
        episode, i = lanes[number].find(root)
        for j in range(unroll_steps + 1):
            expected = episode.value(
                i + j, td_steps=int(td_steps[b]), discount=discount, value_of_row=value_of[number].__getitem__
            )
            assert value[b, j] == pytest.approx(expected, rel=1e-5, abs=1e-5)
            acts = i + j < episode.length
            assert plan.policy_step[b, j] == (root + j if acts else NONE)
            if j < unroll_steps:
                assert plan.action_mask[b, j] == acts
                assert plan.action[b, j] == (episode.actions[i + j] if acts else 0)
                wanted = episode.prefix(i, j, horizon=horizon) if acts else 0
                assert plan.prefix[b, j] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_td_steps_by_age():
    """EfficientZero's own: one step less per 30k transitions of age, so 5, 4, 3 and 2 in a full replay of 100k."""
    age = np.array([1, 29_999, 30_000, 59_999, 60_000, 90_000, 100_000])
    assert td_steps_by_age(age, td_steps=5, decay_env_steps=30_000.0).tolist() == [5, 5, 4, 4, 3, 2, 2]
    assert td_steps_by_age(np.array([150_000, 10**9]), td_steps=5, decay_env_steps=30_000.0).tolist() == [1, 1]
    assert td_steps_by_age(np.array([10**9]), td_steps=5, decay_env_steps=0.0).tolist() == [5]
    assert td_steps_by_age(age, td_steps=5, decay_env_steps=30_000.0).dtype == np.int64
