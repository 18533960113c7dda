"""Rows of scripted games and of Catch, the stacks that are searched, versions, scores, what holds the actor back."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.config import ScheduleConfig
from speedyzero.env.catch import WIDTH, CatchLanes
from speedyzero.env.registry import make_env
from speedyzero.topology.edges import WAIT_INPUT
from speedyzero.topology.records import MetricRecord
from tests.actor.fakes import RANDOM_PHASE, STACK, Game, ScriptedEnv, config_of
from tests.replay.episodes import (
    GAME_OVER,
    LIFE,
    LIMIT,
    made_up_lane,
    shapes,
    stack_of,
    tick,
)


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
    env = ScriptedEnv([made_up_lane([(1, GAME_OVER)], min_rows=9)])
    step = env.step
    env.step = lambda action: replace(step(action), started=np.zeros(1, bool))
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
