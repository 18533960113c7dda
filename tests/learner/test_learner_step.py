"""The learner between its edges: when it moves, and what it sends on."""

import math

import numpy as np
import pytest
import torch

from speedyzero.config import EvaluateConfig, ScheduleConfig
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.flat import flatten
from speedyzero.topology.edges import WAIT_INPUT, WAIT_PACING, WAIT_SPACE
from tests.learner.small_learner import BATCH, small_batch, small_learner
from tests.model.networks import TINY_MODEL, VECTOR_SPEC

SHORT = ScheduleConfig(env_steps=100, train_steps=8, frozen_train_steps=2, head_start_env_steps=20)


def test_a_step_trains_and_sends_priorities():
    small = small_learner(VECTOR_SPEC)
    small.edges.board.train_steps = small.learner.train_step = 5
    batch = small_batch()
    stacks = torch.from_numpy(small.shard.gather_stacks(batch.lane, batch.step))
    with torch.no_grad():
        logits = small.network.predict(small.network.represent(stacks.flatten(1))).value_logits
    value = ScalarCodec(TINY_MODEL.value_codec).decode(logits).numpy()
    small.edges.batches.put(batch)
    assert small.learner.step()
    assert small.edges.board.train_steps == 6 and small.edges.batches.empty
    record = small.edges.priorities.get()
    assert small.edges.priorities.empty
    np.testing.assert_allclose(record.priority, np.abs(value - batch.value_target[:, 0]) + 1e-6, rtol=1e-4)
    assert record.priority.dtype == np.float32
    assert record.version == 5  # the weights that judged, before their update
    assert record.lane is batch.lane and record.step is batch.step


def test_a_value_met_exactly_keeps_the_smallest_priority():
    small = small_learner(VECTOR_SPEC)
    batch = small_batch()
    batch.value_target[:, 0] = small.learner.train_on(batch, 0).root_value.numpy()  # rate 0: the same weights again
    small.edges.batches.put(batch)
    assert small.learner.step()
    assert small.edges.priorities.get().priority.tolist() == pytest.approx([1e-6] * BATCH)


def test_when_the_learner_waits_and_for_what():
    """Pacing before its input, its input before room for priorities."""
    small = small_learner(VECTOR_SPEC)

    def waits_for(what: str) -> bool:
        return not small.learner.step() and small.learner.waiting_for == what

    small.edges.board.env_steps = 19  # the head start is 20
    assert waits_for(WAIT_PACING)
    small.edges.board.env_steps = 20
    assert waits_for(WAIT_INPUT)
    small.edges.batches.put(small_batch())
    assert small.learner.step()
    small.edges.batches.put(small_batch())
    assert waits_for(WAIT_PACING)  # 2 env steps a train step: 22 are due
    small.edges.board.env_steps = 22
    assert small.learner.step()
    small.edges.board.env_steps = 100
    while not small.edges.priorities.full:
        small.edges.batches.put(small_batch())
        assert small.learner.step()
    small.edges.batches.put(small_batch())
    assert waits_for(WAIT_SPACE)
    small.edges.priorities.get()
    assert small.learner.step()
    small.edges.priorities.get()
    small.edges.board.train_steps = small.learner.train_step = 50
    small.edges.batches.put(small_batch())
    assert not small.learner.step()  # done


def test_a_damaged_batch_is_passed_over():
    small = small_learner(VECTOR_SPEC)
    before = flatten(small.network)
    small.edges.batches.put(None)
    assert not small.learner.step() and small.edges.batches.empty
    assert small.edges.board.train_steps == 0 and small.edges.priorities.empty
    assert torch.equal(flatten(small.network), before)


@pytest.mark.parametrize(("interval", "due"), [(4, [4, 8, 10]), (5, [5, 10]), (0, [10])])
def test_checkpoints_on_the_interval_and_at_the_end_each_once(interval, due):
    small = small_learner(VECTOR_SPEC, evaluate=EvaluateConfig(interval_train_steps=interval), schedule=SHORT)
    named = [small.learner.due_checkpoint()]
    for step in range(10):
        small.edges.batches.put(small_batch(seed=step))
        assert small.learner.step()
        small.edges.priorities.get()
        named += [small.learner.due_checkpoint(), small.learner.due_checkpoint()]
    assert [step for step in named if step is not None] == due


def test_weights_are_published_on_their_intervals():
    """Every 2 train steps for the actors, every 3 for the targets, both before the first."""
    small = small_learner(VECTOR_SPEC)
    seen = {0: flatten(small.network)}
    for step in range(1, 8):
        small.edges.batches.put(small_batch(seed=step))
        assert small.learner.step()
        small.edges.priorities.get()
        seen[step] = flatten(small.network)
    weights, targets = small.edges.weights.published, small.edges.targets.published
    assert [record.version for record in weights] == [0, 2, 4, 6]
    assert [record.version for record in targets] == [0, 3, 6]
    for record in (*weights, *targets):
        assert torch.equal(record.flat, seen[record.version])
    assert not torch.equal(seen[2], seen[4])


def test_figures_are_recorded_on_their_interval():
    schedule = ScheduleConfig(env_steps=100, train_steps=1000, frozen_train_steps=500, head_start_env_steps=20)
    small = small_learner(VECTOR_SPEC, schedule=schedule)
    for step in range(4):  # 500 records over 1500 train steps: every third
        small.edges.batches.put(small_batch(seed=step))
        assert small.learner.step()
        small.edges.priorities.get()
    records = list(small.edges.metrics.drain())
    assert {record.step for record in records} == {0, 3} and all(math.isfinite(record.value) for record in records)
    assert {"learner/loss", "learner/target_lag", "learner/learning_rate"} < {record.name for record in records}
