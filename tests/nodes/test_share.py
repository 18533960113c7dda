"""The shares of a run's nodes add up to it, and no lane, shard or draw is had twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.config import get
from speedyzero.config.settings import SETTINGS
from speedyzero.nodes.share import DIVIDED, WHOLE, Share
from speedyzero.topology.pacing import Pacing
from tests.reanalyze.tiny import CONFIG, Machine
from tests.replay.episodes import GAME_OVER, made_up_lane


def test_shares_add_up():
    whole = resolve("catch", "Catch", 0, 0)
    own = Share(1, 2).of(whole)
    changed = {path for path in SETTINGS if get(own, path) != get(whole, path)}
    assert changed == {path for path in DIVIDED if get(whole, path)}
    assert all(2 * get(own, path) == get(whole, path) for path in DIVIDED)
    assert Share(1, 2).whole(own) == whole


def test_schedules_follow_the_train_step():
    """Intervals in train steps and play per train step and sample are those of a lone run."""
    whole = resolve("catch", "Catch", 0, 0, overrides=["actor.envs=8"])
    own = Share(0, 2).of(whole)
    assert (own.target_interval, own.publish_interval) == (whole.target_interval, whole.publish_interval)
    assert own.schedule.total_train_steps == whole.schedule.total_train_steps
    for step in (0, 100, 1200):
        assert 2 * Pacing.of(own).env_steps_due(step) == Pacing.of(whole).env_steps_due(step)


def test_what_does_not_divide_is_refused_with_both_numbers():
    whole = resolve("catch", "Catch", 0, 0)
    odd = replace(whole, schedule=replace(whole.schedule, env_steps=5301))
    with pytest.raises(ValueError, match="schedule.env_steps=5301 does not divide into 2 equal parts"):
        Share(0, 2).of(odd)


def test_numbers_are_distinct_over_all_nodes():
    numbers = [Share(node, 3).number(local, of=2) for node in range(3) for local in range(2)]
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_probabilities_are_of_the_whole_replay_and_draws_differ():
    lanes = [made_up_lane([(6, GAME_OVER)], lane=lane, min_rows=200) for lane in range(2)]
    alone, first, second = (
        Machine(CONFIG, lanes, ticks=70, share=share) for share in (WHOLE, Share(0, 2), Share(1, 2))
    )
    sample = alone.sampler.draw(12)
    np.testing.assert_array_equal(first.sampler.draw(12).step, sample.step)
    assert not np.array_equal(second.sampler.draw(12).step, sample.step)
    for other in (first, second):
        halved = other.reanalyzer.make_batch(sample).probability
        np.testing.assert_array_equal(halved, alone.reanalyzer.make_batch(sample).probability / 2)
