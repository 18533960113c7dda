"""The loss of a batch in the types that devices compute in, on the CPU."""

import torch

from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.unroll import TargetViews
from tests.learner.small_learner import small_config
from tests.learner.test_trainer import random_batch
from tests.model.networks import IMAGE_SPEC, tiny_network

CPU = torch.device("cpu")


def test_bfloat16_is_near_float32_and_weights_and_losses_are_float32():
    losses = []
    for autocast in (False, True):
        network = tiny_network(IMAGE_SPEC, prefix_horizon=2)
        loss = BatchLoss(small_config(), network, device=CPU, autocast=autocast)(random_batch(IMAGE_SPEC, 0))
        loss.total.backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)
        assert loss.total.dtype == loss.root_value.dtype == torch.float32
        losses.append(loss)
    assert losses[1].total != losses[0].total
    torch.testing.assert_close(losses[1].figures, losses[0].figures, rtol=0.05, atol=0.05)


def test_projections_have_no_gradient_and_are_what_the_loss_is_held_against():
    config, batch = small_config(), random_batch(IMAGE_SPEC, 0)
    loss_of_batch = BatchLoss(config, tiny_network(IMAGE_SPEC, prefix_horizon=2), device=CPU)
    views = loss_of_batch.views(batch)
    assert views is not None and not views.projection.requires_grad
    opposite = TargetViews(views.latents, -views.projection)
    whole, turned = loss_of_batch(batch), loss_of_batch.against(batch, opposite)
    assert torch.equal(turned.consistency, -whole.consistency) and torch.equal(turned.value, whole.value)
