"""The loss of a batch in the types that devices compute in, on the CPU."""

from __future__ import annotations

import pytest
import torch

from speedyzero.learner import batch_loss
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.unroll import TargetViews
from tests.learner.small_learner import small_config
from tests.learner.test_trainer import random_batch
from tests.model.networks import IMAGE_SPEC, tiny_network

CPU = torch.device("cpu")


@pytest.mark.parametrize("autocast", [False, True])
def test_by_autocast_the_network_computes_in_bfloat16_and_losses_are_float32(monkeypatch, autocast):
    """Weights and gradients are float32 either way."""
    seen = []
    original = batch_loss.loss_of

    def noting(unrolled, targets, **how):
        assert not torch.is_autocast_enabled("cpu")
        seen.extend([unrolled.policy_logits.dtype, unrolled.projection.dtype, targets.projection.dtype])
        return original(unrolled, targets, **how)

    monkeypatch.setattr(batch_loss, "loss_of", noting)
    config, network = small_config(), tiny_network(IMAGE_SPEC, prefix_horizon=2)
    loss = BatchLoss(config, network, device=CPU, autocast=autocast)(random_batch(IMAGE_SPEC, 0))
    loss.total.backward()
    assert seen == [torch.bfloat16 if autocast else torch.float32] * 3
    assert loss.total.dtype == loss.root_value.dtype == torch.float32
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


def test_bfloat16_is_near_float32():
    losses = {}
    for autocast in (False, True):
        network = tiny_network(IMAGE_SPEC, prefix_horizon=2)
        losses[autocast] = BatchLoss(small_config(), network, device=CPU, autocast=autocast)(
            random_batch(IMAGE_SPEC, 0)
        )
    assert losses[True].total != losses[False].total
    torch.testing.assert_close(losses[True].figures, losses[False].figures, rtol=0.05, atol=0.05)


def test_projections_have_no_gradient_and_are_what_the_loss_is_held_against():
    config, batch = small_config(), random_batch(IMAGE_SPEC, 0)
    loss_of_batch = BatchLoss(config, tiny_network(IMAGE_SPEC, prefix_horizon=2), device=CPU)
    views = loss_of_batch.views(batch)
    assert views is not None and not views.projection.requires_grad
    opposite = TargetViews(views.latents, -views.projection)
    whole, turned = loss_of_batch(batch), loss_of_batch.against(batch, opposite)
    assert torch.equal(turned.consistency, -whole.consistency) and torch.equal(turned.value, whole.value)
