"""A learner that reads what an update found while the next one is under way, as on a GPU. Here on the CPU."""

import math

import numpy as np
import pytest
import torch

from speedyzero.config import OptimizerConfig, ScheduleConfig
from speedyzero.learner.learner import MAX_BAD_BATCHES
from speedyzero.model.flat import flatten
from speedyzero.topology.edges import WAIT_INPUT, WAIT_SPACE
from tests.learner.small_learner import SmallLearner, small_batch, small_learner, snapshot, spoiled
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC


def late_learner(spec=VECTOR_SPEC, **stages) -> SmallLearner:
    return small_learner(spec, deferred=True, **stages)


def feed(small: SmallLearner, batch) -> None:
    small.edges.batches.put(batch)
    assert small.learner.step()


def records_of(small: SmallLearner) -> dict[tuple[str, int], float]:
    return {(record.name, record.step): record.value for record in small.edges.metrics.drain()}


def test_outcomes_are_those_of_a_learner_that_waits():
    """One step late: priorities, with the version that judged, and figures, under their own step and rate."""
    now, late = small_learner(VECTOR_SPEC), late_learner()
    sent = []
    for step in range(4):
        for small in (now, late):
            feed(small, small_batch(seed=step))
        assert late.edges.priorities.empty == (step == 0)
        if step:
            record, expected = late.edges.priorities.get(), sent[-1]
            assert record.version == expected.version == step - 1
            np.testing.assert_allclose(record.priority, expected.priority, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(record.step, small_batch().step)
        sent.append(now.edges.priorities.get())
    assert late.edges.board.train_steps == late.learner.train_step == 4
    found, wanted = records_of(late), records_of(now)
    assert {step for _, step in found} == {0, 1, 2} and {step for _, step in wanted} == {0, 1, 2, 3}
    for key, value in found.items():
        assert value == pytest.approx(wanted[key], rel=1e-4, abs=1e-6), key


def test_where_there_is_no_batch_the_last_outcome_is_read():
    small = late_learner()
    feed(small, small_batch())
    assert small.edges.priorities.empty
    assert small.learner.step()  # no train step, yet work
    assert small.edges.priorities.get().version == 0 and small.learner.train_step == 1
    assert not small.learner.step() and small.learner.waiting_for == WAIT_INPUT


def test_nothing_is_read_where_there_is_no_room():
    """The priorities' producer asks first, whatever there is to send."""
    small = late_learner()
    while not small.edges.priorities.full:
        feed(small, small_batch())
    small.edges.batches.put(small_batch())
    assert not small.learner.step() and small.learner.waiting_for == WAIT_SPACE
    trained = small.learner.train_step
    small.edges.priorities.get()
    assert small.learner.step() and small.learner.train_step == trained + 1
    assert small.edges.priorities.full and not small.learner.step()


def test_nothing_is_left_under_way_at_the_end():
    schedule = ScheduleConfig(env_steps=100, train_steps=4, frozen_train_steps=2, head_start_env_steps=20)
    small = late_learner(schedule=schedule)
    versions = []
    while small.learner.train_step < schedule.total_train_steps:
        if small.edges.batches.empty:
            small.edges.batches.put(small_batch(seed=small.learner.train_step))
        assert small.learner.step()
        while not small.edges.priorities.empty:
            versions.append(small.edges.priorities.get().version)
    assert versions == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])
def test_a_bad_batch_is_counted_late_and_touches_nothing(spec):
    """What is published right after it is what was there before it; it sends no priorities."""
    small = late_learner(spec)
    for step in range(3):
        feed(small, small_batch(seed=step))
        while not small.edges.priorities.empty:
            small.edges.priorities.get()
    before = snapshot(small.network)
    feed(small, spoiled(small_batch(), math.nan))  # the fourth: weights are published after it
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.network.state_dict().items())
    published = small.edges.weights.published[-1]
    assert published.version == 4 and torch.equal(published.flat, flatten(small.network))
    assert published.flat.isfinite().all()
    assert small.edges.priorities.get().version == 2
    assert not any(name == "learner/bad_batches" for name, _ in records_of(small))
    feed(small, small_batch(seed=4))
    assert records_of(small)["learner/bad_batches", 3] == 1.0
    assert small.edges.priorities.empty
    feed(small, small_batch(seed=5))
    assert small.edges.priorities.get().version == 4


def test_ten_bad_batches_in_a_row_end_the_run_one_step_late():
    small = late_learner()
    feed(small, small_batch())
    small.learner.step()
    small.edges.priorities.get()
    before = snapshot(small.network)
    for _ in range(MAX_BAD_BATCHES):
        feed(small, spoiled(small_batch(), math.inf))
    small.edges.batches.put(spoiled(small_batch(), math.inf))
    with pytest.raises(FloatingPointError, match="10 batches in a row"):
        small.learner.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.network.state_dict().items())
    assert all(record.flat.isfinite().all() for record in small.edges.weights.published)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize(("name", "reports"), [("clipped_lars", True), ("sgd", False)])
def test_trust_ratios_are_recorded_where_there_are_any(name, reports, deferred):
    small = small_learner(VECTOR_SPEC, deferred=deferred, optimizer=OptimizerConfig(name=name, clip=1e-3))
    feed(small, small_batch())
    if deferred:
        assert small.learner.step()
    ratios = {name: value for (name, _), value in records_of(small).items() if "trust_ratio" in name}
    assert bool(ratios) == reports
    assert all(0 < value <= 1e-3 + 1e-9 for name, value in ratios.items() if name.endswith(("_min", "_median")))
