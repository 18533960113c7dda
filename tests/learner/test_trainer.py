"""Updates that the host only starts: the same as those it waits for, and fit to be captured. All on the CPU."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from speedyzero.config import Config, LearnerConfig, OptimizerConfig
from speedyzero.learner.batch import Batch
from speedyzero.learner.device_step import state_tensors
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.trainer import Trainer
from tests.kernels.fake_capture import fake_captures
from tests.learner.small_learner import small_config
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, VECTOR_SPEC, tiny_network

SPECS = pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])
OPTIMIZERS = pytest.mark.parametrize("name", ["sgd", "clipped_lars", "adamw"])
B, K = 4, 3
RATES = {"sgd": 0.2, "clipped_lars": 0.2, "adamw": 3e-3}


def config_with(name: str = "sgd", **learner) -> Config:
    return small_config(
        optimizer=OptimizerConfig(name=name, learning_rate=RATES[name], warmup_fraction=0.1),
        learner=LearnerConfig(batch_size=B, **learner),
    )


def trainer_of(spec, config: Config, **how) -> Trainer:
    network = tiny_network(spec, prefix_horizon=config.search.prefix_horizon)
    return Trainer(config, network, how.pop("group", None) or LoneLearner(), device=torch.device("cpu"), **how)


def random_batch(spec, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    shape = (B, 6, 36, 36) if spec.is_image else (B, 6)
    root, *following = (torch.rand(shape, generator=generator) for _ in range(K + 1))
    return Batch(
        root=root,
        following=tuple(following),
        action=torch.randint(NUM_ACTIONS, (B, K), generator=generator),
        action_mask=torch.ones(B, K),
        value=torch.randn(B, K + 1, generator=generator),
        prefix=torch.randn(B, K, generator=generator),
        policy=torch.softmax(torch.randn(B, K + 1, NUM_ACTIONS, generator=generator), -1),
        weight=torch.rand(B, generator=generator) + 0.1,
    )


def spoiled(batch: Batch) -> Batch:
    value = batch.value.clone()
    value[1, 1] = math.nan
    return replace(batch, value=value)


def tensors_of(trainer: Trainer) -> list[torch.Tensor]:
    """All that an update may change."""
    return [*trainer.network.state_dict().values(), *state_tensors(trainer.optimizer)]


def everything(trainer: Trainer) -> list[torch.Tensor]:
    """A copy of all that an update may change."""
    return [tensor.clone() for tensor in tensors_of(trainer)]


def equal(now: list[torch.Tensor], before: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(now, before, strict=True))


@SPECS
@OPTIMIZERS
def test_started_or_waited_for_an_update_is_the_same(spec, name):
    """Losses, root values and weights, but for rounding: a rate that lies in memory multiplies a little differently.

    Started late, each is read after the next was started. Both begin each update from the same state: with 4 samples
    to normalise by, rounding grows tenfold in a few updates, on one kind of processor more than on another.
    """
    now, late = (trainer_of(spec, config_with(name), deferred=deferred) for deferred in (False, True))
    # A bias before a norm has a gradient of nothing but rounding, which AdamW makes a step of.
    atol = 2 * RATES[name] if name == "adamw" else 1e-5
    expected, launched, found = [], [], []
    for step in range(1, 7):
        launched.append(late.launch(random_batch(spec, step), step))
        if step > 1:
            found.append(launched[-2].result())
        expected.append(now.update(random_batch(spec, step), step))
        torch.testing.assert_close(everything(late), everything(now), rtol=1e-4, atol=atol)
        for mine, other in zip(tensors_of(late), tensors_of(now), strict=True):
            mine.detach().copy_(other)
    found.append(launched[-1].result())
    for a, b in zip(found, expected, strict=True):
        assert a.is_finite and b.is_finite
        for field, tensor in vars(a.loss).items():
            torch.testing.assert_close(tensor, getattr(b.loss, field).detach(), rtol=1e-4, atol=1e-5)
    assert len({update.loss.total.item() for update in found}) == 6
    assert [one.learning_rate for one in launched] == pytest.approx([RATES[name] * min(1, k / 4) for k in range(1, 7)])


@SPECS
@OPTIMIZERS
@pytest.mark.parametrize("good_steps", [0, 2])
def test_a_bad_batch_changes_nothing_to_the_bit(spec, name, good_steps):
    """Not even the first one: momentum is there, at zero. What comes after is not touched by it either."""
    config = config_with(name)
    trainer, other = trainer_of(spec, config, deferred=True), trainer_of(spec, config, deferred=True)
    for step in range(1, good_steps + 1):
        for one in (trainer, other):
            assert one.update(random_batch(spec, step), step).is_finite
    before = everything(trainer)
    bad = trainer.update(spoiled(random_batch(spec, 9)), 3)
    assert not bad.is_finite and math.isnan(bad.loss.total)
    if good_steps:
        assert equal(everything(trainer), before)
    else:  # the optimiser had no state yet; of the network nothing moved
        assert equal(list(trainer.network.state_dict().values()), before[: len(trainer.network.state_dict())])
        assert not any(tensor.any() for tensor in state_tensors(trainer.optimizer))
    for one in (trainer, other):
        assert one.update(random_batch(spec, 10), 4).is_finite
    assert equal(everything(trainer), everything(other)) and not equal(everything(trainer), before)


def test_a_bad_gradient_of_a_finite_loss_changes_nothing():
    trainer = trainer_of(IMAGE_SPEC, config_with(), deferred=True)
    trainer.update(random_batch(IMAGE_SPEC, 1), 1)
    before = everything(trainer)
    trainer.network.value_head.output.weight.register_hook(lambda gradient: gradient * math.inf)
    update = trainer.update(random_batch(IMAGE_SPEC, 2), 2)
    assert math.isfinite(update.loss.total) and not update.is_finite and equal(everything(trainer), before)


@SPECS
@OPTIMIZERS
def test_a_step_can_be_captured(monkeypatch, spec, name):
    """No host synchronisation, no shape that depends on data, no number or address that changes: batch, rate and step
    number do, and bad batches come, in the three calls that are compared after three warm-ups."""
    fake_captures(monkeypatch)
    trainer = trainer_of(spec, config_with(name), deferred=True)
    batches = [random_batch(spec, step) for step in range(6)]
    batches[4] = spoiled(batches[4])
    updates = [trainer.update(batch, step) for step, batch in enumerate(batches)]
    assert [update.is_finite for update in updates] == [True] * 4 + [False, True]


@pytest.mark.parametrize("learner", [{"folded_targets": True}, {"consistency_coefficient": 0.0}], ids=str)
def test_its_options_can_be_captured(monkeypatch, learner):
    fake_captures(monkeypatch)
    trainer = trainer_of(IMAGE_SPEC, config_with(**learner), deferred=True)
    batches = [random_batch(IMAGE_SPEC, step) for step in range(5)]
    if "consistency_coefficient" in learner:  # the reader then gives no stacks to compare with
        batches = [replace(batch, following=()) for batch in batches]
    assert all(trainer.update(batch, step).is_finite for step, batch in enumerate(batches))


class TwoRanks(LoneLearner):
    """A group of two that look alike, with gradients at fixed places, as ranks have them. Averages on the host."""

    size = 2
    calls = 0

    def adopt(self, network):
        super().adopt(network)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def zero_gradients(self):
        self._network.zero_grad(set_to_none=False)

    def average_gradients(self, figures):
        self.calls += 1
        assert math.isfinite(figures[0].item())  # allowed here, between the captured parts
        return figures.clone()


def test_with_more_ranks_the_averaging_lies_between_two_captured_parts(monkeypatch):
    fake_captures(monkeypatch)
    config = config_with("clipped_lars")
    group = TwoRanks()
    two = trainer_of(VECTOR_SPEC, config, deferred=True, group=group)
    one = trainer_of(VECTOR_SPEC, config, deferred=True)
    for step in range(6):
        for trainer in (two, one):
            trainer.update(random_batch(VECTOR_SPEC, step), step)
    assert group.calls == 6 and equal(everything(two), everything(one))


def test_loaded_state_is_used():
    """A state that was there before the first update is not made anew."""
    source = trainer_of(VECTOR_SPEC, config_with("adamw"), deferred=True)
    for step in range(1, 4):
        source.update(random_batch(VECTOR_SPEC, step), step)
    resumed = trainer_of(VECTOR_SPEC, config_with("adamw"), deferred=True)
    resumed.network.load_state_dict(source.network.state_dict())
    resumed.optimizer.load_state_dict(copy.deepcopy(source.optimizer.state_dict()))  # torch shares tensors
    for trainer in (source, resumed):
        trainer.update(random_batch(VECTOR_SPEC, 4), 4)
    assert equal(everything(resumed), everything(source))
