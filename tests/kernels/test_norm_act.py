"""norm_act: both backends against torch's autograd in float64, running statistics and bad numbers included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kernels.norm_act import norm_act
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

# Of one tile of rows and of several, of one tile of channels and of more. (Two rows have a gradient of rounding alone.)
SHAPES = [(6, 3, 1, 1), (7, 5, 6, 6), (63, 16, 3, 5), (1, 32, 13, 11), (7, 70, 2, 3), (63, 32), (7, 512), (7, 1)]


class Case:
    """Inputs of one call, away from the origin, and what torch makes of them in float64."""

    def __init__(self, shape: tuple[int, ...], *, has_residual: bool, dtype: torch.dtype = torch.float32):
        generator = torch.Generator().manual_seed(sum(shape))

        def random(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=generator)

        channels = shape[1]
        by_channel = (channels, *[1] * (len(shape) - 2))
        self.x = (random(*shape) * (1 + random(*by_channel).abs()) + 3 * random(*by_channel)).to(dtype)
        self.residual = random(*shape).to(dtype) if has_residual else None
        self.dy = random(*shape).to(dtype)
        self.weight, self.bias = 1 + 0.5 * random(channels), random(channels)
        self.running_mean, self.running_var = random(channels), 0.5 + random(channels).abs()

    def inputs(self, device: torch.device, dtype: torch.dtype | None = None) -> list[torch.Tensor | None]:
        """x, weight, bias, running_mean, running_var, residual; those with a gradient are leaves."""
        found = []
        for name in ("x", "weight", "bias", "running_mean", "running_var", "residual"):
            tensor = getattr(self, name)
            if tensor is not None:
                tensor = tensor.detach().to(device, dtype, copy=True)
                if tensor.dim() == 4:
                    tensor = tensor.contiguous(memory_format=torch.channels_last)
                tensor.requires_grad_(not name.startswith("running"))
            found.append(tensor)
        return found

    def expected(self) -> list[torch.Tensor]:
        """In float64, by torch's own batch norm: y, gradients of x, weight, bias and residual, running statistics."""
        x, weight, bias, mean, var, residual = self.inputs(torch.device("cpu"), torch.float64)
        y = F.batch_norm(x, mean, var, weight, bias, training=True, momentum=0.1, eps=1e-5)
        y = F.relu(y if residual is None else y + residual)
        y.backward(self.dy.double())
        return outcome(y, [x, weight, bias, mean, var, residual])

    def found(self, device: torch.device, backend: str) -> list[torch.Tensor]:
        inputs = self.inputs(device)
        y = norm_act(*inputs, eps=1e-5, momentum=0.1, backend=backend)
        y.backward(self.dy.to(device))
        return outcome(y, inputs)


def outcome(y: torch.Tensor, inputs: list[torch.Tensor | None]) -> list[torch.Tensor]:
    x, weight, bias, mean, var, residual = inputs
    gradients = [tensor.grad for tensor in (x, weight, bias, residual) if tensor is not None]
    return [tensor.detach().cpu() for tensor in (y, *gradients, mean, var)]


def close(found: list[torch.Tensor], expected: list[torch.Tensor], *, tolerance: float) -> None:
    """By the norm of each tensor: a sum of many numbers is as exact as the largest of them."""
    assert len(found) == len(expected)
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == b.shape
        error = ((a.double() - b).norm() / b.norm().clamp_min(1e-3)).item()
        assert error <= tolerance, (number, error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("has_residual", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_torch_s_autograd_in_float64(monkeypatch, device, backend, has_residual, shape):
    case = Case(shape, has_residual=has_residual)
    seen = watch(monkeypatch, "kernels.norm_act", reference="norm_act", kernel="statistics_kernel")
    gradients = watch(monkeypatch, "kernels.norm_act", reference="norm_act", kernel="gradient_kernel")
    found = case.found(device, backend)
    assert set(seen) == set(gradients) == {backend}
    close(found, case.expected(), tolerance=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [4096 * 3 + 5, 100])
def test_many_tiles_and_many_programs(monkeypatch, device, backend, rows):
    """A few tiles for each program, the last program with less, some with nothing."""
    from kernels.norm_act import triton_gpu

    monkeypatch.setattr(triton_gpu, "MOST_PARTS", 5)
    monkeypatch.setattr(triton_gpu, "TILE", 2048)
    monkeypatch.setattr(triton_gpu, "BLOCK_PARTS", 2)
    case = Case((rows, 2), has_residual=True)
    close(case.found(device, backend), case.expected(), tolerance=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_small_variance_far_from_zero_is_not_lost(device, backend):
    """Mean 1000, deviation 0.1: the difference of two sums of squares in float32 would be off by more than itself."""
    generator = torch.Generator().manual_seed(0)
    x = 1000 + 0.1 * torch.randn(4099, 2, generator=generator)
    ones, zeros = torch.ones(2), torch.zeros(2)
    mean, var = zeros.clone().to(device), ones.clone().to(device)
    norm_act(x.to(device), ones.to(device), zeros.to(device), mean, var, momentum=1.0, backend=backend)
    torch.testing.assert_close(mean.cpu().double(), x.double().mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(var.cpu().double(), x.double().var(0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_bad_numbers_go_through(device, backend, bad):
    """Forward and backward, in their channel and no other."""
    case = Case((7, 3, 4, 4), has_residual=True)
    case.x[3, 1, 2, 2] = bad
    y, dx, dweight, dbias, dresidual, mean, var = case.found(device, backend)
    assert y[:, 1].isnan().all() and dx[:, 1].isnan().all()
    assert [t.isnan().tolist() for t in (dweight, var)] == [[False, True, False]] * 2
    assert not mean[1].isfinite()
    for tensor in (y, dx, dresidual):
        assert tensor[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layout_that_is_not_channels_last_gives_the_same(device, backend):
    case = Case((7, 5, 6, 6), has_residual=True)
    inputs = [None if t is None else t.detach() for t in case.inputs(device)]
    results = []
    for last in (False, True):
        x, weight, bias, mean, var, residual = [t.clone() for t in inputs]
        if not last:
            x, residual = x.contiguous(), residual.contiguous()
        x.requires_grad_()
        y = norm_act(x, weight, bias, mean, var, residual, backend=backend)
        y.backward(case.dy.to(device).contiguous())
        results.append([y.detach(), x.grad, mean, var])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_is_rounded_once(device, backend):
    """By Triton. torch rounds norm and sum too, which turns some ReLUs off or on."""
    case = Case((63, 16, 6, 6), has_residual=True, dtype=torch.bfloat16)
    close(case.found(device, backend), case.expected(), tolerance=6e-3 if backend == "triton" else 5e-2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_gradient_nothing_is_kept(device, backend):
    case = Case((7, 5, 3, 3), has_residual=False)
    with torch.no_grad():
        y = norm_act(*case.inputs(device), backend=backend)
    assert y.grad_fn is None
    close([y.cpu()], case.expected()[:1], tolerance=1e-5)


def test_misfits_are_refused():
    x, ones = torch.zeros(4, 3), torch.ones(3)
    assert "[4]" in refusal(norm_act, torch.zeros(4), ones, ones, ones, ones)
    assert "float64" in refusal(norm_act, x.double(), ones, ones, ones, ones)
    assert "there are 1" in refusal(norm_act, x[:1], ones, ones, ones, ones)
    assert "residual is [2, 3]" in refusal(norm_act, x, ones, ones, ones, ones, x[:2])
    assert "running_var is [2]" in refusal(norm_act, x, ones, ones, ones, ones[:2])
