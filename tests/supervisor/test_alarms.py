"""Warnings: each once, and none where nothing is wrong."""

import math

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.supervisor import alarms as alarms_module
from speedyzero.supervisor.alarms import GAMES_WITHOUT_REWARD, Alarms
from speedyzero.topology.records import MetricRecord

MIB = 2**20


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def alarms(told) -> Alarms:
    words = "schedule.env_steps=10300 schedule.train_steps=1000 schedule.head_start_env_steps=300 actor.envs=8".split()
    config = resolve("catch", "Catch", 0, 0, None, [*words, "learner.publish_interval_samples=1280"])
    return Alarms(config, told.append)


def test_a_skipped_batch_is_told_once(alarms, told):
    for step in (3, 4):
        alarms.on_metric(MetricRecord("learner/loss", step, math.nan))
        alarms.on_metric(MetricRecord("learner/bad_batches", step, 1.0))
    assert len(told) == 1 and "train step 3" in told[0] and "10 in a row" in told[0]


def test_games_without_reward_are_told_of_once_there_are_enough(alarms, told):
    def score(value: float, step: int) -> None:
        alarms.on_metric(MetricRecord("actor/game_score", step, value))

    for _ in range(2 * GAMES_WITHOUT_REWARD):
        score(0.0, 99)  # of 1000: too soon
    assert told == []
    score(0.0, 100)
    score(0.0, 101)
    assert len(told) == 1 and "all 41 games" in told[0]


def test_one_reward_is_enough(alarms, told):
    for index in range(3 * GAMES_WITHOUT_REWARD):
        alarms.on_metric(MetricRecord("actor/game_score", 500, float(index == 1)))
    assert told == []


def test_projections_that_collapsed_are_told_of_once(alarms, told):
    for step, similarity in ((99, 0.999), (100, 0.89), (300, 0.95), (310, 0.99)):  # of 1000: the first is too soon
        alarms.on_metric(MetricRecord("learner/projection_similarity", step, similarity))
    assert len(told) == 1 and "train step 300" in told[0] and "0.950" in told[0]


def test_old_weights_are_told_of_beyond_the_bound(alarms, told):
    # Two intervals of 10, and two times what is trained while a tick, 8 of 10000, and the slack
    # of two train steps' play, 20, are played.
    assert alarms.lag_bound == 2 * 10 + 2 * (8 + 20) * 1000 // 10_000
    alarms.on_lag("actor-0", alarms.lag_bound, env_steps=5000)
    alarms.on_lag("actor-0", 900, env_steps=10_300)  # all is played, the learner continues alone
    assert told == []
    alarms.on_lag("actor-1", alarms.lag_bound + 1, env_steps=5000)
    alarms.on_lag("actor-0", 100, env_steps=5000)
    assert len(told) == 1 and "actor-1 plays by weights 26 train steps old, the bound is 25" in told[0]


def test_memory_is_compared_with_what_it_was_once_settled(alarms, told):
    for own_mib, step in ((100, 0), (900, 50), (1000, 100), (1600, 500), (1400, 600)):
        alarms.on_memory(own_mib * MIB, train_steps=step)
    assert len(told) == 1 and "1600 MiB at train step 500, it was 1000 MiB" in told[0]


@pytest.mark.parametrize("own_mib", [1500, 1100])
def test_half_as_much_again_or_little_in_bytes_is_no_growth(alarms, told, own_mib):
    alarms.on_memory(1000 * MIB, train_steps=200)
    alarms.on_memory(own_mib * MIB, train_steps=900)
    assert told == []


def test_a_resumed_run_settles_anew(alarms, told):
    alarms.on_memory(100 * MIB, train_steps=500)
    alarms.on_memory(1000 * MIB, train_steps=549)
    alarms.on_memory(2000 * MIB, train_steps=550)
    alarms.on_memory(2600 * MIB, train_steps=800)
    assert told == []


def test_memory_is_looked_at_now_and_then(alarms, told, monkeypatch):
    looked: list[int] = []
    monkeypatch.setattr(alarms_module, "own_memory_bytes", lambda pid: looked.append(pid) or 0)
    for _ in range(3):
        alarms.look_at_memory([1, 2], train_steps=1)
    assert looked == [1, 2]
