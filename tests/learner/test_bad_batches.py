"""NaN and infinity never reach the weights. Reliability contract, row 18."""

import math

import pytest
import torch

from speedyzero.learner.learner import MAX_BAD_BATCHES
from tests.learner.small_learner import SmallLearner, small_batch, small_learner, snapshot, spoiled
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC


def unchanged(small: SmallLearner, before: dict[str, torch.Tensor], momentum: list[torch.Tensor]) -> bool:
    now = [state["momentum_buffer"] for state in small.learner.optimizer.state.values()]
    weights = all(torch.equal(tensor, before[name]) for name, tensor in small.network.state_dict().items())
    return weights and all(torch.equal(a, b) for a, b in zip(now, momentum, strict=True))


@pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_bad_target_changes_nothing(spec, number):
    """Neither parameters nor batch-norm statistics nor momentum; no priorities; the run goes on."""
    small = small_learner(spec)
    small.learner.train_on(small_batch(), 1)
    before = snapshot(small.network)
    momentum = [state["momentum_buffer"].clone() for state in small.learner.optimizer.state.values()]
    small.edges.board.train_steps = small.learner.train_step = 2
    small.edges.batches.put(spoiled(small_batch(), number))
    assert small.learner.step()
    assert unchanged(small, before, momentum)
    assert small.edges.priorities.empty and small.edges.board.train_steps == 3
    record = small.edges.metrics.get()
    assert (record.name, record.step, record.value) == ("learner/bad_batches", 2, 1.0)


def test_a_bad_gradient_of_a_finite_loss_changes_nothing():
    small = small_learner(IMAGE_SPEC)
    small.learner.train_on(small_batch(), 1)
    before = snapshot(small.network)
    momentum = [state["momentum_buffer"].clone() for state in small.learner.optimizer.state.values()]
    handle = small.network.value_head.output.weight.register_hook(lambda gradient: gradient * math.inf)
    loss = small.learner.train_on(small_batch(), 2)
    assert math.isfinite(loss.total.item()) and unchanged(small, before, momentum)
    handle.remove()
    small.learner.train_on(small_batch(), 3)
    assert not unchanged(small, before, momentum)


def test_ten_bad_batches_in_a_row_end_the_run():
    small = small_learner(VECTOR_SPEC)
    bad = spoiled(small_batch(), math.nan)
    for _ in range(MAX_BAD_BATCHES - 1):
        small.learner.train_on(bad, 1)
    small.learner.train_on(small_batch(), 1)  # a good one: counted anew
    before = snapshot(small.network)
    for _ in range(MAX_BAD_BATCHES - 1):
        small.learner.train_on(bad, 1)
    with pytest.raises(FloatingPointError, match="10 batches in a row"):
        small.learner.train_on(bad, 1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.network.state_dict().items())
    assert MAX_BAD_BATCHES == 10
