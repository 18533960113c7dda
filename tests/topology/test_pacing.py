"""Pacing under any order of turns: somebody can always move, and the ratio holds within the slack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.config import ScheduleConfig
from speedyzero.topology.pacing import Pacing, slack_env_steps


@st.composite
def pacings(draw) -> Pacing:
    env_steps = draw(st.integers(2, 120))
    return Pacing(
        ScheduleConfig(
            env_steps=env_steps,
            train_steps=draw(st.integers(1, 120)),
            frozen_train_steps=draw(st.integers(0, 20)),
            head_start_env_steps=draw(st.integers(1, env_steps - 1)),
            pacing_slack_env_steps=draw(st.integers(0, 60)),
        ),
        tick_env_steps=draw(st.integers(1, 40)),
    )


@given(pacings(), st.randoms(use_true_random=False), st.floats(0, 1))
def test_a_run_ends_whoever_goes_first(pacing, random, eagerness_of_play):
    """Turns in random order; a tick may add less than `tick_env_steps`: final observations are no env steps."""
    schedule, tick = pacing.schedule, pacing.tick_env_steps
    slack = slack_env_steps(schedule, tick)
    assert slack >= max(schedule.pacing_slack_env_steps, tick)
    env_steps = train_steps = 0
    while train_steps < schedule.total_train_steps:
        may_play = pacing.may_play(env_steps=env_steps, train_steps=train_steps)
        may_train = pacing.may_train(env_steps=env_steps, train_steps=train_steps)
        assert may_play or may_train
        if may_play and (not may_train or random.random() < eagerness_of_play):
            env_steps += random.randint(1, tick)
        else:
            assert env_steps >= pacing.env_steps_due(train_steps)
            train_steps += 1
        assert env_steps <= pacing.env_steps_due(train_steps) + slack
    assert pacing.env_steps_due(schedule.total_train_steps - 1) <= env_steps < schedule.env_steps + tick
    assert not pacing.may_train(env_steps=env_steps, train_steps=train_steps)


@given(pacings())
def test_the_line(pacing):
    schedule = pacing.schedule
    due = [pacing.env_steps_due(step) for step in range(schedule.total_train_steps + 1)]
    assert due[0] == schedule.head_start_env_steps
    assert due == sorted(due)
    assert due[schedule.train_steps :] == [schedule.env_steps] * (schedule.frozen_train_steps + 1)
    assert pacing.learning_started(schedule.head_start_env_steps)
    assert not pacing.learning_started(schedule.head_start_env_steps - 1)


EFFICIENTZERO = Pacing(
    ScheduleConfig(env_steps=102_000, train_steps=100_000, frozen_train_steps=20_000, head_start_env_steps=2_000),
    tick_env_steps=4,
)


@pytest.mark.parametrize(("train_steps", "due"), [(0, 2_000), (1, 2_001), (50_000, 52_000), (110_000, 102_000)])
def test_one_env_step_a_train_step_after_the_head_start(train_steps, due):
    assert EFFICIENTZERO.env_steps_due(train_steps) == pytest.approx(due, rel=1e-12)


def test_one_tick_of_slack_by_hand():
    """At train step 100, 2,100 are due; play continues while a tick of 4 stays within 2,104."""
    assert EFFICIENTZERO.may_play(env_steps=2_100, train_steps=100)
    assert not EFFICIENTZERO.may_play(env_steps=2_101, train_steps=100)
    assert EFFICIENTZERO.may_train(env_steps=2_100, train_steps=100)
    assert not EFFICIENTZERO.may_train(env_steps=2_099, train_steps=100)


def test_more_slack_lets_play_run_further_ahead():
    schedule = ScheduleConfig(env_steps=1_000, train_steps=90, head_start_env_steps=100, pacing_slack_env_steps=50)
    pacing = Pacing(schedule, tick_env_steps=4)
    assert pacing.may_play(env_steps=100 + 46, train_steps=0) and not pacing.may_play(env_steps=100 + 47, train_steps=0)
    assert pacing.may_train(env_steps=100, train_steps=0)


def test_play_goes_on_while_the_learner_works():
    """50 env steps a train step in ticks of 32: a whole train step's play is there before the next one begins."""
    schedule = ScheduleConfig(env_steps=902_000, train_steps=18_000, frozen_train_steps=0, head_start_env_steps=2_000)
    pacing = Pacing(schedule, tick_env_steps=32)
    assert slack_env_steps(schedule, 32) == 100
    assert pacing.may_play(env_steps=2_000 + 50, train_steps=0)
