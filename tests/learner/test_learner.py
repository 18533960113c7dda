"""One update: what the network is shown, what the loss is, and what moves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from speedyzero.config import LearnerConfig, OptimizerConfig, SearchConfig, TargetConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec
from tests.learner.small_learner import (
    BATCH,
    UNROLL,
    SmallLearner,
    small_batch,
    small_learner,
    without_batch_statistics,
)
from tests.model.networks import TINY_MODEL, VECTOR_SPEC


def test_stacks_by_hand(monkeypatch):
    """Every pixel is its row's number, 100 more in lane 1; episodes begin at rows 0, 9 and 20; two frames a stack.
    State j+1 is compared with frames j+1 and j+2 of the window, the root's episode's stack going on."""
    small = small_learner(ObservationSpec(shape=(3, 2, 3), dtype=np.dtype(np.uint8)))
    small.network.norm_mixes_batch = True  # each view by itself
    represent, roots, targets = small.network.represent, [], []

    def noting(observation):
        (roots if torch.is_grad_enabled() else targets).append(observation)
        return represent(observation)

    monkeypatch.setattr(small.network, "represent", noting)
    small.learner.train_on(small_batch(), 1)
    (root,) = roots
    assert root.shape == (BATCH, 6, 3, 2)
    assert pixels(root) == [[4, 5], [109, 109], [9, 10], [120, 120]]  # steps 5, 9, 10, 20 of lanes 0, 1, 0, 1
    assert [pixels(stack) for stack in targets] == [
        [[5, 6], [109, 110], [10, 11], [120, 121]],
        [[6, 7], [110, 111], [11, 12], [121, 122]],
        [[7, 8], [111, 112], [12, 13], [122, 123]],
    ]


def pixels(stack: torch.Tensor) -> list[list[int]]:
    """The number in each of a stack's two RGB frames, [B, 6, H, W] -> B of 2."""
    numbers = (255 * stack).round().int()
    assert torch.equal(numbers, numbers[:, [0, 0, 0, 3, 3, 3], :1, :1].expand_as(numbers))
    return numbers[:, [0, 3], 0, 0].tolist()


def slow_loss(small: SmallLearner, network: Network, beta: float) -> float:
    """B.7 from the lanes up, sample by sample: vectors, two frames a stack, prefix state zeroed every second step."""
    batch, shard, learner = small_batch(), small.shard, small.config.learner
    value_codec, prefix_codec = ScalarCodec(TINY_MODEL.value_codec), ScalarCodec(TINY_MODEL.prefix_codec)
    weights = batch.probability**-beta
    weights /= weights.max()
    total = 0.0
    for b, (lane, step) in enumerate(zip(batch.lane, batch.step, strict=True)):
        frames = torch.from_numpy(shard.frame[lane])
        previous = step if shard.first[lane, step] else step - 1
        window = torch.stack([frames[previous], *frames[step : step + UNROLL + 1]])
        latent = network.represent(window[:2].reshape(1, -1))
        value, policy = torch.from_numpy(batch.value_target[b]), torch.from_numpy(batch.policy_target[b])
        prediction = network.predict(latent)
        loss = learner.value_coefficient * cross_entropy(prediction.value_logits, value_codec.encode(value[0]))
        loss += learner.policy_coefficient * cross_entropy(prediction.policy_logits, policy[0])
        for j in range(UNROLL):
            if j % 2 == 0:
                state = network.initial_prefix_state(1)
            transition = network.dynamics(latent, torch.tensor([batch.action[b, j]]), state)
            latent, state = transition.latent, transition.prefix_state
            if batch.action_mask[b, j] == 0:
                continue
            prediction = network.predict(latent)
            prefix = prefix_codec.encode(torch.tensor(batch.prefix_target[b, j]))
            seen = network.project(network.represent(window[j + 1 : j + 3].reshape(1, -1)))
            expected = network.predict_projection(network.project(latent))
            loss += learner.prefix_coefficient * cross_entropy(transition.prefix_logits, prefix)
            loss += learner.value_coefficient * cross_entropy(prediction.value_logits, value_codec.encode(value[j + 1]))
            loss += learner.policy_coefficient * cross_entropy(prediction.policy_logits, policy[j + 1])
            loss -= learner.consistency_coefficient * F.cosine_similarity(expected, seen).item()
        total += weights[b] * loss
    return total / BATCH / UNROLL


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> float:
    return -(target * torch.log_softmax(logits[0], -1)).sum().item()


@pytest.mark.parametrize(("train_step", "beta"), [(0, 0.4), (25, 0.7)])  # beta rises to 1 over 50 steps
def test_the_whole_loss_against_one_sample_after_the_other(train_step, beta):
    small = without_batch_statistics(small_learner(VECTOR_SPEC))
    with torch.no_grad():
        expected = slow_loss(small, small.network, beta)
    assert small.learner.train_on(small_batch(), train_step).total.item() == pytest.approx(expected, rel=1e-5)


def test_nothing_unrolled_trains_the_root_alone():
    """An ablation, K = 0: value and policy of the root, not divided; the two codecs differ in their bins."""
    target, search = TargetConfig(unroll_steps=0, td_steps=2), SearchConfig(prefix_horizon=0)
    small = small_learner(VECTOR_SPEC, target=target, search=search)
    batch = replace(
        small_batch(),
        action=np.zeros((BATCH, 0), np.int64),
        action_mask=np.zeros((BATCH, 0), np.float32),
        prefix_target=np.zeros((BATCH, 0), np.float32),
        value_target=small_batch().value_target[:, :1],
        policy_target=small_batch().policy_target[:, :1],
    )
    stacks = torch.from_numpy(small.shard.gather_stacks(batch.lane, batch.step)).flatten(1)
    weights = batch.probability**-0.4
    expected = 0.0
    with torch.no_grad():
        for b in range(BATCH):
            prediction = small.network.predict(small.network.represent(stacks[b : b + 1]))
            value = ScalarCodec(TINY_MODEL.value_codec).encode(torch.tensor(batch.value_target[b, 0]))
            loss = 0.25 * cross_entropy(prediction.value_logits, value)
            loss += cross_entropy(prediction.policy_logits, torch.from_numpy(batch.policy_target[b, 0]))
            expected += weights[b] / weights.max() * loss / BATCH
    assert small.learner.train_on(batch, 0).total.item() == pytest.approx(expected, rel=1e-5)


def test_two_updates_by_hand():
    """Gradient clipped by its global norm, then SGD with momentum 0.9 and decay of everything; the rate of the step."""
    learner = LearnerConfig(batch_size=BATCH, shift_px=0, intensity_scale=0.0, gradient_clip=0.5)
    optimizer = OptimizerConfig(learning_rate=0.2, momentum=0.9, weight_decay=0.01, warmup_fraction=0.1)
    small = small_learner(VECTOR_SPEC, learner=learner, optimizer=optimizer)
    parameters = list(small.network.parameters())
    momentum = [torch.zeros_like(parameter) for parameter in parameters]
    for train_step, rate in [(1, 0.05), (2, 0.1)]:  # 4 steps of warm-up
        before = [parameter.detach().clone() for parameter in parameters]
        small.learner.train_on(small_batch(seed=train_step), train_step)
        norm = math.sqrt(sum(parameter.grad.square().sum().item() for parameter in parameters))
        assert norm == pytest.approx(0.5, rel=1e-4)  # what is left of a larger one
        momentum = [
            0.9 * m + parameter.grad + 0.01 * old
            for m, parameter, old in zip(momentum, parameters, before, strict=True)
        ]
        for parameter, old, m in zip(parameters, before, momentum, strict=True):
            torch.testing.assert_close(parameter.detach(), old - rate * m, rtol=1e-5, atol=1e-7)


def test_a_small_gradient_is_left_alone():
    gradients = []
    for clip in (1e3, 1e6):
        learner = LearnerConfig(batch_size=BATCH, shift_px=0, intensity_scale=0.0, gradient_clip=clip)
        small = small_learner(VECTOR_SPEC, learner=learner)
        small.learner.train_on(small_batch(), 1)
        gradients.append([parameter.grad for parameter in small.network.parameters()])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
