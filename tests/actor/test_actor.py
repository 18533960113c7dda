"""Rows by hand and from scripted games, the stacks that are searched, versions, scores, what holds the actor back."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.config import ScheduleConfig
from speedyzero.env.base import EnvStep
from speedyzero.env.catch import WIDTH, CatchLanes
from speedyzero.env.registry import make_env
from speedyzero.topology.edges import WAIT_INPUT
from speedyzero.topology.records import MetricRecord
from tests.actor.fakes import RANDOM_PHASE, STACK, Game, ScriptedEnv, config_of
from tests.replay.episodes import (
    GAME_OVER,
    LIFE,
    LIMIT,
    NUM_ACTIONS,
    SPEC,
    frames,
    made_up_lane,
    shapes,
    stack_of,
    tick,
)


class OneLane:
    """Ticks given by hand: (frame, reward, the flag that is set)."""

    num_lanes, num_actions, spec = 1, NUM_ACTIONS, SPEC

    def __init__(self, first_frame: int, ticks: list[tuple[int, float, str]]):
        self.first_frame, self.ticks, self.actions = first_frame, list(ticks), []

    def reset(self, first_game=0):
        return frames(np.zeros(1), self.first_frame)

    def step(self, action):
        self.actions.append(int(action[0]))
        frame, reward, flag = self.ticks.pop(0)
        flags = {name: np.array([name == flag]) for name in ("game_over", "life_lost", "truncated", "started")}
        reward_now = np.array([reward], np.float32)
        return EnvStep(frames(np.zeros(1), frame), reward_now, 10 * reward_now, **flags)


def test_rows_by_hand():
    """A game of two lives that is over, one that is cut off, and the beginning of a third."""
    ticks = [(11, 1, ""), (12, 2, "life_lost"), (13, 3, ""), (14, 4, "game_over")]
    ticks += [(20, 0, "started"), (21, 5, "truncated"), (30, 0, "started"), (31, 6, "")]
    env = OneLane(10, ticks)
    game = Game(config_of(schedule=RANDOM_PHASE), env)
    env_steps = []
    records = []
    for _ in range(8):
        records += game.play(1)
        env_steps.append(game.edges.board.env_steps)
    #           frame reward  flags
    expected = [
        (10, 1, {"first"}),
        (11, 2, {"terminal"}),  # this action cost a life
        (12, 3, {"first"}),  # the next life: no row of its own for the end
        (13, 4, {"terminal"}),
        (14, 0, {"last"}),  # what was left to see: no action, no reward
        (20, 5, {"first", "truncated"}),
        (21, 0, {"last"}),
        (30, 6, {"first"}),
    ]
    for record, (frame, reward, flags), played in zip(records, expected, env.actions, strict=True):
        np.testing.assert_array_equal(record.frame, frames(np.zeros(1), frame))
        assert record.reward[0] == reward and record.raw_reward[0] == 10 * reward
        names = ("first", "terminal", "truncated", "last")
        assert {name for name in names if getattr(record, name)[0]} == flags, frame
        assert record.action[0] == (0 if "last" in flags else played)
    assert {record.action[0] for record in records} != {0}
    assert env_steps == [1, 2, 3, 4, 4, 5, 5, 6]
    assert game.scores() == [100, 50]  # raw, over both lives


@settings(max_examples=40)
@given(st.lists(shapes(ends=(GAME_OVER, LIFE, LIMIT)), min_size=1, max_size=3))
def test_scripted_games_give_the_rows_of_their_episodes(lane_shapes):
    """Every field of every record, and every stack that the network sees, from the episode objects."""
    lanes = [made_up_lane(shape, lane=number, min_rows=40) for number, shape in enumerate(lane_shapes)]
    game = Game(config_of(), ScriptedEnv(lanes))
    ticks = 36
    records = game.play(ticks)
    searched_from = 1  # the first tick is the head start
    for row, record in enumerate(records):
        expected = tick(lanes, row)
        last = [lane.rows[row].last for lane in lanes]
        for name in ("frame", "reward", "raw_reward", "first", "terminal", "truncated", "last", "actor_version"):
            assert getattr(record, name).dtype == getattr(expected, name).dtype
            np.testing.assert_array_equal(getattr(record, name), getattr(expected, name), err_msg=f"{name} of {row}")
        assert record.action.dtype == np.int16
        np.testing.assert_array_equal(record.action, np.where(last, 0, game.env.actions[row]))
        if row >= searched_from:
            np.testing.assert_array_equal(record.root_value, expected.root_value)
            np.testing.assert_array_equal(record.visit_policy, expected.visit_policy)
            stacks = np.concatenate([stack_of(e, lane, row, stack=STACK) for e, lane in enumerate(lanes)])
            np.testing.assert_array_equal(game.agent.stacks[row - searched_from], stacks)
    assert len(game.agent.stacks) == ticks - searched_from
    rows = [lane.rows[row] for lane in lanes for row in range(ticks)]
    assert game.edges.board.env_steps == sum(not row.last for row in rows)


def test_actions_and_frames_of_a_real_game():
    """In Catch the paddle's next place is its place now, moved by the recorded action."""
    game = Game(config_of(schedule=RANDOM_PHASE), CatchLanes(lanes=3, seed=0))
    records = game.play(1)
    before = {name: value.copy() for name, value in vars(records[0]).items()}
    records += game.play(40)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(records[0], name), value)  # records are left alone afterwards
    for row, (now, following) in enumerate(zip(records[:-1], records[1:], strict=True)):
        is_last = row % 10 == 9  # nine steps and a last row
        assert now.last.tolist() == [is_last] * 3
        assert now.terminal.tolist() == [row % 10 == 8] * 3
        assert now.first.tolist() == [row % 10 == 0] * 3
        assert (np.abs(now.reward) == (row % 10 == 8)).all()
        if not is_last:
            paddle, moved = now.frame[:, -1, :, 0].argmax(1), following.frame[:, -1, :, 0]
            if row % 10 < 8:  # in the last frame the ball is in the paddle's row
                assert moved.argmax(1).tolist() == np.clip(paddle + now.action - 1, 0, WIDTH - 1).tolist()


class ShowsItsSeed(gymnasium.Env):
    """A game of one step whose observation is the seed that it was begun with."""

    observation_space = gymnasium.spaces.Box(0.0, 2.0**16, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.shown = np.array(divmod(seed, 2**16), np.float32)
        return self.shown, {}

    def step(self, action):
        return self.shown, 0.0, True, False, {}


def test_no_two_games_of_a_run_or_of_two_seeds_are_the_same_also_where_actors_are_replaced():
    """Games of one step are the worst case: a lane begins one every other tick."""
    gymnasium.register("speedyzero_test/ShowsItsSeed-v0", ShowsItsSeed)
    config = config_of(schedule=RANDOM_PHASE)
    games, begun = set(), 0
    for seed in range(6):
        for actor, first_ticks in enumerate([[0, 1, 3, 4, 12], [0, 7]]):
            ends = [*first_ticks[1:], first_ticks[-1] + 9]
            for first_tick, end in zip(first_ticks, ends, strict=True):
                env_config = replace(config.env, game="speedyzero_test/ShowsItsSeed-v0")
                env = make_env(env_config, lanes=2, seed=seed, first_lane=2 * actor)
                begin = {"first_lane": 2 * actor, "first_tick": first_tick}
                records = Game(replace(config, seed=seed), env, **begin).play(end - first_tick)
                for record in records:
                    begun += int(record.first.sum())
                    games |= {tuple(shown) for shown in record.frame[record.first].tolist()}
    assert len(games) == begun > 100


def test_the_newest_weights_act_and_are_named():
    game = Game(config_of(), ScriptedEnv([made_up_lane([(50, LIMIT)])]))
    assert game.play(2)[-1].actor_version.tolist() == [0]
    game.publish(10)
    game.publish(20)
    assert game.play(2)[0].actor_version.tolist() == [20]
    assert game.play(1)[0].actor_version.dtype == np.int64
    assert game.agent.loaded == [(0, 0.5), (20, 20.5)]  # once each, and not the one that was already old


def test_past_the_head_start_an_actor_waits_for_weights():
    """A resumed run's env steps are there before its learner's weights: a network of chance is not to play."""
    schedule = ScheduleConfig(env_steps=60, train_steps=10, frozen_train_steps=0, head_start_env_steps=20)
    game = Game(config_of(schedule=schedule), ScriptedEnv([made_up_lane([(100, LIMIT)])]), published=False)
    game.edges.board.train_steps = 5
    assert [len(record.action) for record in game.play(20)] == [1] * 20  # random play needs none
    assert not game.actor.step() and game.actor.waiting_for == WAIT_INPUT and not game.agent.stacks
    game.publish(5)
    assert game.play(1)[0].actor_version.tolist() == [5]


def test_a_full_ring_holds_the_actor_back():
    lanes = [made_up_lane([(4, LIFE), (3, LIMIT)], min_rows=60)]
    game = Game(config_of(), ScriptedEnv(lanes))
    while game.actor.step():
        pass
    assert game.edges.steps.full and game.env.row == 4 and game.edges.board.env_steps == 4
    assert not game.actor.step() and game.env.row == 4
    queued = [game.edges.steps.get() for _ in range(4)]
    for row, record in enumerate(queued + game.play(8)):  # nothing was lost, repeated or stacked twice
        assert record.frame.tolist() == tick(lanes, row).frame.tolist()
    for row, stack in enumerate(game.agent.stacks, start=1):
        np.testing.assert_array_equal(stack, stack_of(0, lanes[0], row, stack=STACK))


def test_pacing_holds_the_actor_back():
    schedule = ScheduleConfig(env_steps=60, train_steps=10, frozen_train_steps=0, head_start_env_steps=20)
    game = Game(config_of(schedule=schedule), ScriptedEnv([made_up_lane([(100, LIMIT)])]))
    for train_steps, due in ((0, 20), (1, 24), (5, 40), (10, 60)):  # 4 a train step, of which two may be ahead
        game.edges.board.train_steps = train_steps
        while game.actor.step():
            game.edges.steps.get()
        assert game.edges.board.env_steps == game.env.row == min(due + 8, 60)


def test_an_environment_that_does_not_start_anew_is_caught():
    env = OneLane(10, [(11, 1, "game_over"), (12, 1, "")])
    game = Game(config_of(schedule=RANDOM_PHASE), env)
    game.play(1)
    with pytest.raises(AssertionError, match="starts anew"):
        game.actor.step()


def test_scores_by_lane():
    """Two lanes end in the same tick; a score begins anew with each game, not with each life."""
    shape = [(2, LIFE), (2, GAME_OVER), (3, LIMIT)]
    lanes = [made_up_lane(shape, lane=0, min_rows=30), made_up_lane(shape, lane=1, min_rows=30)]
    game = Game(config_of(), ScriptedEnv(lanes))
    game.edges.board.train_steps = 7
    game.play(3)
    assert game.scores() == []
    game.play(1)
    metric = game.edges.metrics.get()
    over_two_lives = 10.0 * sum(row.reward for row in lanes[0].rows[:4])
    assert metric == MetricRecord("actor/game_score", 7, over_two_lives)
    assert game.scores() == [10.0 * sum(row.reward for row in lanes[1].rows[:4])]
    game.play(4)
    assert game.scores() == [10.0 * sum(row.reward for row in lane.rows[5:8]) for lane in lanes]
