"""Clipped LARS against a scalar implementation, by hand, and at its limits."""

import math

import pytest
import torch

from speedyzero.learner.clipped_lars import ClippedLARS
from tests.learner.parameters import clipped_ratios, give_gradients, random_parameters, train

INF = math.inf


class ScalarClippedLARS:
    """One tensor in float64, element by element, of part A's text."""

    def __init__(self, weight: torch.Tensor, *, momentum, weight_decay, trust, clip, eps, adaptive):
        self.weight = weight.double().flatten().tolist()
        self.buffer = [0.0] * len(self.weight)
        self.is_scaled = adaptive and weight.ndim >= 2
        self.decay = weight_decay if self.is_scaled or not adaptive else 0.0
        self.momentum, self.trust, self.clip, self.eps = momentum, trust, clip, eps

    def step(self, gradient: torch.Tensor, *, lr: float) -> float:
        gradients = gradient.double().flatten().tolist()
        ratio = 1.0
        if self.is_scaled:
            weight_norm = math.sqrt(math.fsum(w * w for w in self.weight))
            gradient_norm = math.sqrt(math.fsum(g * g for g in gradients))
            if weight_norm > 0 and gradient_norm > 0:
                ratio = self.trust * weight_norm / (gradient_norm + self.decay * weight_norm + self.eps)
            ratio = min(ratio, self.clip)
        for i, g in enumerate(gradients):
            self.buffer[i] = self.momentum * self.buffer[i] + ratio * (g + self.decay * self.weight[i])
            self.weight[i] -= lr * self.buffer[i]
        return ratio


def one_step(weight, gradient, **options) -> tuple[torch.Tensor, ClippedLARS]:
    parameter = torch.nn.Parameter(torch.tensor(weight))
    parameter.grad = torch.tensor(gradient)
    optimizer = ClippedLARS([parameter], **options)
    optimizer.step()
    return parameter.detach(), optimizer


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_agrees_with_the_scalar_implementation(dtype, tolerance):
    """50 steps, four groups of their own settings, a rate that changes."""
    sets = [random_parameters(seed=seed, dtype=dtype) for seed in range(4)]
    options = [
        {"momentum": 0.9, "weight_decay": 1e-2, "trust": 0.02, "clip": 10.0, "eps": 1e-8, "adaptive": True},
        {"momentum": 0.5, "weight_decay": 0.0, "trust": 1.0, "clip": 0.5, "eps": 1e-3, "adaptive": True},
        {"momentum": 0.0, "weight_decay": 1e-4, "trust": 0.001, "clip": INF, "eps": 1e-8, "adaptive": True},
        {"momentum": 0.9, "weight_decay": 1e-2, "trust": 0.02, "clip": 0.1, "eps": 1e-8, "adaptive": False},
    ]
    optimizer = ClippedLARS([{"params": some, **own} for some, own in zip(sets, options, strict=True)])
    slow = [[ScalarClippedLARS(p.detach(), **own) for p in some] for some, own in zip(sets, options, strict=True)]
    clipped, unclipped = 0, 0
    for step in range(50):
        lr = 0.1 * min(1.0, step / 10)
        ratios = []
        for some, references, group in zip(sets, slow, optimizer.param_groups, strict=True):
            group["lr"] = lr
            give_gradients(some, step)
            used = [reference.step(p.grad, lr=lr) for reference, p in zip(references, some, strict=True)]
            ratios += [ratio for ratio, reference in zip(used, references, strict=True) if reference.is_scaled]
            clipped += sum(ratio == group["clip"] for ratio in used)
            unclipped += sum(ratio < group["clip"] for ratio in used)
        optimizer.step()
        assert clipped_ratios(optimizer) == pytest.approx(ratios, rel=tolerance)
    assert clipped > 50 and unclipped > 50  # both branches of the minimum
    for some, references in zip(sets, slow, strict=True):
        for parameter, reference in zip(some, references, strict=True):
            buffer = optimizer.state[parameter]["momentum_buffer"].flatten().tolist()
            assert parameter.detach().flatten().tolist() == pytest.approx(
                reference.weight, rel=tolerance, abs=tolerance
            )
            assert buffer == pytest.approx(reference.buffer, rel=tolerance, abs=tolerance)


def test_two_steps_by_hand():
    """|w| = 5, |g| = 1, decay 0.2: 0.4 * 5 / (1 + 1) = 1, u = (1.2, 1.6). Then |w| = 4, |g| = 0.2: 1.6, clipped."""
    parameter = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = ClippedLARS([parameter], lr=0.5, momentum=0.5, weight_decay=0.2, trust=0.4, clip=1.5, eps=1e-12)
    parameter.grad = torch.tensor([[0.6, 0.8]])
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([[2.4, 3.2]]))
    parameter.grad = torch.tensor([[-0.12, -0.16]])
    optimizer.step()
    # u = 1.5 * (-0.12 + 0.48, -0.16 + 0.64) = (0.54, 0.72); buf = (0.6, 0.8) + u = (1.14, 1.52); w -= buf / 2
    torch.testing.assert_close(parameter.detach(), torch.tensor([[1.83, 2.44]]))
    assert clipped_ratios(optimizer) == [1.5]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_infinite_trust_with_a_clip_of_one_is_sgd(momentum):
    """With one decay for every group; a tensor of zeros among them, whose infinite share of nothing is no NaN."""
    ours, theirs = random_parameters(), random_parameters()
    for some in (ours, theirs):
        some[0].data.zero_()
    scaled, plain = [p for p in ours if p.ndim >= 2], [p for p in ours if p.ndim < 2]
    groups = [{"params": scaled, "adaptive": True}, {"params": plain, "adaptive": False}]
    train(ClippedLARS(groups, lr=0.1, momentum=momentum, weight_decay=0.01, trust=INF, clip=1.0), ours, range(30))
    train(torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=0.01), theirs, range(30))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("trust", "clip"), [(0.02, 0.25), (0.02, 10.0), (0.02, INF), (INF, 0.25), (INF, 10.0)])
def test_a_zero_norm_takes_the_plain_step_within_the_clip(trust, clip):
    ratio = min(1.0, clip)
    options = {"lr": 0.5, "weight_decay": 0.1, "trust": trust, "clip": clip}
    cases = [
        ([[0.0, 0.0]], [[2.0, -4.0]], [[-1.0 * ratio, 2.0 * ratio]]),
        ([[2.0, -4.0]], [[0.0, 0.0]], [[2.0 - 0.1 * ratio, -4.0 + 0.2 * ratio]]),  # decay alone
        ([[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]),
    ]
    for weight, gradient, expected in cases:
        moved, optimizer = one_step(weight, gradient, **options)
        torch.testing.assert_close(moved, torch.tensor(expected))
        assert clipped_ratios(optimizer) == [ratio]


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-30, 1e-22, 2.0**50])
@pytest.mark.parametrize(("trust", "clip"), [(0.02, 10.0), (INF, 1.0), (INF, 10.0), (0.02, INF), (1e-30, 1e-30)])
def test_finite_input_stays_finite(size, trust, clip):
    """Denormals included, whose norms underflow."""
    for weight, gradient in ((size, 1.0), (1.0, -size), (size, size)):
        moved, optimizer = one_step([[weight] * 3], [[gradient] * 3], lr=0.4, trust=trust, clip=clip)
        assert torch.isfinite(moved).all() and all(map(math.isfinite, clipped_ratios(optimizer)))
