"""Clipped LARS against a scalar implementation, by hand, and at its limits."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.config import Config, OptimizerConfig
from speedyzero.config.validation import validate
from speedyzero.learner.clipped_lars import ClippedLARS
from tests.learner.parameters import give_gradients, random_parameters, train

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
        assert optimizer.trust_ratios.tolist() == pytest.approx(ratios, rel=tolerance)
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
    assert optimizer.trust_ratios.tolist() == [1.5]


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


def test_an_infinite_clip_is_lars():
    """The length of an update is trust |w|, however small the gradient; the clip bounds it."""
    gradient = [[3e-5, 4e-5]]
    for clip, length in ((INF, 0.1), (10.0, 5e-4)):
        weight, optimizer = one_step([[3.0, 4.0]], gradient, lr=1.0, weight_decay=0.0, trust=0.02, clip=clip, eps=1e-15)
        assert (weight - torch.tensor([[3.0, 4.0]])).norm().item() == pytest.approx(length, rel=1e-3)
        assert optimizer.trust_ratio_summary().largest_unclipped == pytest.approx(2_000.0, rel=1e-4)


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
        assert optimizer.trust_ratios.tolist() == [ratio]


def test_tensors_of_one_dimension_take_undecayed_sgd_unless_their_group_says_otherwise():
    weight, optimizer = one_step([2.0, -1.0], [1.0, 1.0], lr=0.1, weight_decay=0.5, trust=1e-3, clip=0.1)
    torch.testing.assert_close(weight, torch.tensor([1.9, -1.1]))
    assert optimizer.trust_ratios.numel() == 0 and optimizer.trust_ratio_summary() is None
    weight, _ = one_step([[2.0, -1.0]], [[1.0, 1.0]], lr=0.1, weight_decay=0.5, trust=1e-3, clip=0.1, adaptive=False)
    torch.testing.assert_close(weight, torch.tensor([[1.8, -1.05]]))


@settings(max_examples=60)
@given(
    weight=st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=4, max_size=4),
    gradient=st.lists(st.floats(-(2.0**50), 2.0**50, width=32), min_size=4, max_size=4),
    weight_decay=st.sampled_from([0.0, 1e-4]),
    limits=st.sampled_from([(0.02, 10.0), (INF, 1.0), (INF, 10.0), (0.02, INF), (1e-30, 1e-30)]),
)
def test_finite_input_stays_finite(weight, gradient, weight_decay, limits):
    """Denormals included, whose norms underflow."""
    trust, clip = limits
    moved, optimizer = one_step(
        [weight], [gradient], lr=0.4, weight_decay=weight_decay, trust=trust, clip=clip, eps=1e-8
    )
    assert torch.isfinite(moved).all() and torch.isfinite(optimizer.trust_ratios).all()


@pytest.mark.parametrize("size", [1e-45, 1e-40, 1e-30, 1e-22])
def test_denormals_of_either_kind_stay_finite(size):
    for weight, gradient in ((size, 1.0), (1.0, size), (size, size)):
        moved, optimizer = one_step([[weight] * 3], [[gradient] * 3], lr=0.4, clip=INF)
        assert torch.isfinite(moved).all() and torch.isfinite(optimizer.trust_ratios).all()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1_000),
    scale=st.floats(-6, 6),
    weight_decay=st.floats(0, 0.1),
    trust=st.one_of(st.floats(1e-4, 1e4), st.just(INF)),
    clip=st.floats(1e-4, 1.0),
)
def test_with_a_clip_of_at_most_one_no_update_is_longer_than_sgd_s(seed, scale, weight_decay, trust, clip):
    ours, theirs = random_parameters(seed=seed), random_parameters(seed=seed)
    before = [p.detach().clone() for p in ours]
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": weight_decay}
    groups = [{"params": [p], "adaptive": p.ndim >= 2} for p in ours]
    for some, optimizer in (
        (ours, ClippedLARS(groups, **options, trust=trust, clip=clip)),
        (theirs, torch.optim.SGD(theirs, **options)),
    ):
        give_gradients(some, seed)
        for parameter in some:
            parameter.grad.mul_(10.0**scale)
        optimizer.step()
    for a, b, start in zip(ours, theirs, before, strict=True):
        slack = 1e-6 * start.norm()  # of rounding
        assert (a - start).norm() <= (b - start).norm() * (1 + 1e-6) + slack


def test_a_closure_s_loss_is_returned():
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = ClippedLARS([parameter], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert (parameter < 1).all()


@pytest.mark.parametrize(
    "setting",
    [
        {"lr": -0.1},
        {"lr": math.nan},
        {"momentum": -1.0},
        {"weight_decay": INF},
        {"trust": 0.0},
        {"clip": 0.0},
        {"clip": math.nan},
        {"eps": 0.0},
        {"trust": INF, "clip": INF},
    ],
)
def test_settings_out_of_range_are_refused(setting):
    (name, value), *_ = setting.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        ClippedLARS(random_parameters(), **setting)
    with pytest.raises(ValueError, match=f"{name}={value}"):
        ClippedLARS([{"params": random_parameters(), **setting}])


@pytest.mark.parametrize("name", ["trust", "clip", "eps"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, INF])
def test_a_configuration_out_of_range_is_refused(name, value):
    config = Config(optimizer=replace(OptimizerConfig(), **{name: value}))
    with pytest.raises(ValueError, match=f"optimizer.{name}={value}"):
        validate(config)
