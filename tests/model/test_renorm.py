"""Batch renormalization: what training sees is what inference will, whichever unroll step the latents are of."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from speedyzero.model.blocks import fused_norm_act
from speedyzero.model.build import build_network
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.model.renorm import LARGEST_D, LARGEST_R, WARM_UP_CALLS, BatchRenorm1d, BatchRenorm2d
from tests.kernels.fake_capture import FakeGraphed
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, TINY_MODEL, tiny_config

SHAPES = [(BatchRenorm1d, (64, 3)), (BatchRenorm2d, (16, 3, 4, 5))]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def warm(norm: nn.Module, *, mean: float = 0.0, variance: float = 1.0, calls: int = 2 * WARM_UP_CALLS) -> nn.Module:
    """After `calls` calls that have seen such inputs."""
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
        norm.running_mean.fill_(mean)
        norm.running_var.fill_(variance)
        norm.num_batches_tracked.fill_(calls)
    return norm


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_at_first_it_is_batch_norm(kind, shape):
    norm, batch_norm = kind(3), kind.__mro__[2](3)
    assert type(batch_norm) in (nn.BatchNorm1d, nn.BatchNorm2d)
    seen = [3 + 2 * normal(*shape, seed=seed) for seed in range(4)]
    for x in seen:
        torch.testing.assert_close(norm(x), batch_norm(x))
    # Meanwhile its running statistics are the mean over the calls.
    dims = [0, *range(2, len(shape))]
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(dims) for x in seen]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var(dims, correction=0) for x in seen]).mean(0))


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_training_sees_what_inference_does(kind, shape):
    norm = warm(kind(3), mean=0.4, variance=1.7)
    x = 0.8 + 1.1 * normal(*shape)
    expected = norm.eval()(x)
    torch.testing.assert_close(norm.train()(x), expected, rtol=1e-5, atol=1e-5)
    assert (norm.running_mean > 0.4).all()  # it has moved towards the batch's only afterwards


def test_the_limits_hold_and_rise():
    for calls, r_limit, d_limit in (
        (WARM_UP_CALLS, 1.0, 0.0),
        (WARM_UP_CALLS * 3 // 2, 1 + (LARGEST_R - 1) / 2, LARGEST_D / 2),
        (9 * WARM_UP_CALLS, LARGEST_R, LARGEST_D),
    ):
        x = 100 + 50 * normal(4096, 3)  # far beyond them
        y = warm(BatchRenorm1d(3), calls=calls)(x)
        expected = (x - x.mean(0)) / x.std(0, correction=0) * r_limit + d_limit
        expected = expected * torch.tensor([0.5, 1.0, 2.0]) + torch.tensor([0.1, 0.0, -0.3])
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)
    y = warm(BatchRenorm1d(3))(0.05 * normal(4096, 3)).detach()
    assert y[:, 1].std().item() == pytest.approx(1 / LARGEST_R, rel=0.02)


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_its_gradient_is_batch_norm_s_with_constant_corrections(kind, shape):
    norm = warm(kind(3), mean=0.4, variance=1.7)
    x, direction = (0.8 + 1.1 * normal(*shape)).requires_grad_(), normal(*shape, seed=1)
    found = torch.autograd.grad((norm(x) * direction).sum(), [x, norm.weight, norm.bias])

    norm = warm(kind(3), mean=0.4, variance=1.7)
    dims, wide = [0, *range(2, len(shape))], (1, 3, *[1] * (len(shape) - 2))
    mean, sd = x.mean(dims).view(wide), (x.var(dims, correction=0) + norm.eps).sqrt().view(wide)
    running_sd = (norm.running_var + norm.eps).sqrt().view(wide)
    r, d = (sd / running_sd).detach(), ((mean - norm.running_mean.view(wide)) / running_sd).detach()
    y = ((x - mean) / sd * r + d) * norm.weight.view(wide) + norm.bias.view(wide)
    expected = torch.autograd.grad((y * direction).sum(), [x, norm.weight, norm.bias])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_nothing_is_read_on_the_host():
    norm, x = warm(BatchRenorm2d(3)), normal(16, 3, 4, 5)
    FakeGraphed(lambda: norm(x), warmups=0)()


def test_the_fused_norm_leaves_it_alone():
    norm, other = warm(BatchRenorm1d(3), mean=0.4), warm(BatchRenorm1d(3), mean=0.4)
    x = normal(64, 3)
    torch.testing.assert_close(fused_norm_act(x, norm), torch.relu(other(x)))


def test_all_that_reads_unrolled_latents_has_it_and_what_reads_images_has_not():
    plain, renormalized = (
        build_network(tiny_config(model=replace(TINY_MODEL, norm=norm)), IMAGE_SPEC, NUM_ACTIONS)
        for norm in ("batch", "renorm")
    )
    assert isinstance(renormalized, EfficientZeroNetwork)
    assert list(plain.state_dict()) == list(renormalized.state_dict())
    for name, module in renormalized.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            of_images = name.startswith(("representation", "projector", "predictor"))
            assert isinstance(module, BatchRenorm1d | BatchRenorm2d) != of_images, name
    assert sum(isinstance(module, BatchRenorm1d | BatchRenorm2d) for module in renormalized.modules()) > 10
