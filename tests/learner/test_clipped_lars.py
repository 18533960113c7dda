"""Clipped LARS against a scalar implementation, its two limits, and what a CUDA graph and a resumed run rely on."""

import io
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from speedyzero.config import Config, OptimizerConfig, validate
from speedyzero.learner.clipped_lars import ClippedLARS, LayerTrustRatio, parameter_groups
from speedyzero.learner.schedule import build_optimizer
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network

INF = math.inf
SHAPES = [(3, 4), (5,), (2, 3, 2, 2), (), (1, 1), (4, 1)]


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


def random_parameters(shapes=SHAPES, *, seed: int = 0, dtype=torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes
    ]


def give_gradients(parameters, step: int) -> None:
    """Random ones, the same for the same shapes, from 1e-6 to 10 in size."""
    for i, parameter in enumerate(parameters):
        generator = torch.Generator().manual_seed(100 * step + i)
        size = 10.0 ** (torch.rand((), generator=generator, dtype=torch.float64) * 7 - 6)
        gradient = size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient.to(parameter.dtype)


def train(optimizer: torch.optim.Optimizer, parameters, steps) -> None:
    for step in steps:
        give_gradients(parameters, step)
        optimizer.step()


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


def test_copies_with_the_same_gradients_stay_equal_to_the_bit_in_any_order():
    """Learner ranks hold the same reduced gradients and must never drift apart."""
    one, two, backwards = random_parameters(), random_parameters(), random_parameters()
    optimizers = [ClippedLARS(some, lr=0.3) for some in (one, two, backwards[::-1])]
    for step in range(20):
        for some, optimizer in zip((one, two, backwards), optimizers, strict=True):
            train(optimizer, some, [step])
    for a, b, c in zip(one, two, backwards, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_the_layout_in_memory_does_not_matter():
    shape = (4, 3, 3, 3)
    (plain,), (channels_last,) = random_parameters([shape]), random_parameters([shape])
    channels_last.data = channels_last.data.to(memory_format=torch.channels_last)
    for parameter in (plain, channels_last):
        train(ClippedLARS([parameter]), [parameter], range(5))
    torch.testing.assert_close(plain, channels_last, rtol=1e-6, atol=1e-6)


def test_a_rate_may_be_a_tensor_that_is_filled():
    numbers, tensors = random_parameters(), random_parameters()
    rate = torch.tensor(0.0)
    by_number, by_tensor = ClippedLARS(numbers, lr=0.0), ClippedLARS(tensors, lr=rate)
    for step, lr in enumerate([0.0, 0.1, 0.4]):
        by_number.param_groups[0]["lr"] = lr
        rate.fill_(lr)
        train(by_number, numbers, [step])
        train(by_tensor, tensors, [step])
    assert all(torch.equal(a, b) for a, b in zip(numbers, tensors, strict=True))


def test_a_step_on_a_gpu_never_waits_for_it():
    """Fake tensors on a device that need not exist: reading a number from one raises."""
    with FakeTensorMode():
        device = torch.device("cuda")
        parameters = [torch.nn.Parameter(torch.empty(shape, device=device)) for shape in SHAPES]
        optimizer = ClippedLARS(parameters, lr=torch.tensor(0.4, device=device))
        for without_gradient in (None, 0, 1):
            for i, parameter in enumerate(parameters):
                parameter.grad = None if i == without_gradient else torch.empty_like(parameter)
            optimizer.step()
            optimizer.param_groups[0]["lr"] = 0.4
        assert optimizer.trust_ratios.device.type == "cuda" and optimizer.trust_ratios.shape == (4,)
        with pytest.raises(DataDependentOutputException):
            optimizer.trust_ratio_summary()  # the one place that reads


def test_steps_and_loading_keep_every_address():
    parameters = random_parameters()
    rate = torch.tensor(0.3)
    optimizer = ClippedLARS(parameters, lr=rate)
    kept = [state["momentum_buffer"] for state in optimizer.state.values()] + [rate]
    addresses = [tensor.data_ptr() for tensor in kept]
    ratios = optimizer._ratios[0]
    train(optimizer, parameters, range(3))
    optimizer.load_state_dict(ClippedLARS(random_parameters(), lr=0.1).state_dict())
    train(optimizer, parameters, range(3))
    now = [optimizer.state[p]["momentum_buffer"] for p in parameters] + [optimizer.param_groups[0]["lr"]]
    assert [tensor.data_ptr() for tensor in now] == addresses
    assert optimizer._ratios[0] is ratios and rate.item() == pytest.approx(0.1)


def test_a_saved_state_continues_to_the_bit():
    shapes = SHAPES + [(2, 2)]
    straight, resumed = random_parameters(shapes), random_parameters(shapes)

    def optimizer_of(parameters, lr):
        return ClippedLARS([{"params": parameters[:4]}, {"params": parameters[4:], "adaptive": False}], lr=lr, clip=2.0)

    first, before = optimizer_of(straight, 0.3), optimizer_of(resumed, 0.3)
    train(first, straight, range(10))
    train(before, resumed, range(5))
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = optimizer_of(resumed, 0.7)
    after.load_state_dict(torch.load(file))
    train(after, resumed, range(5, 10))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))
    assert after.param_groups[1]["lr"] == 0.3 and after.param_groups[1]["adaptive"] is False


def test_a_loaded_state_is_a_copy():
    parameters, others = random_parameters(), random_parameters()
    source, other = ClippedLARS(parameters), ClippedLARS(others)
    train(source, parameters, range(2))
    saved = [source.state[p]["momentum_buffer"].clone() for p in parameters]
    other.load_state_dict(source.state_dict())
    train(other, others, range(2, 4))
    assert all(torch.equal(source.state[p]["momentum_buffer"], b) for p, b in zip(parameters, saved, strict=True))


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    parameters = random_parameters([(2, 3), (4,)])
    optimizer = ClippedLARS(parameters, lr=0.5)
    train(optimizer, parameters, range(2))
    momentum = [optimizer.state[p]["momentum_buffer"].clone() for p in parameters]
    sgd_parameters = random_parameters([(2, 3), (4,)])
    sgd = torch.optim.SGD(sgd_parameters, lr=0.1, momentum=0.9)
    train(sgd, sgd_parameters, range(1))
    emptied = optimizer.state_dict()
    emptied["state"] = {0: emptied["state"][0]}
    misfits = {
        "lacks .*trust": sgd.state_dict(),
        r"parameter 0.*\(2, 1\).*\(2, 3\)": ClippedLARS(random_parameters([(2, 1), (4,)])).state_dict(),
        r"parameter 1.*None.*\(4,\)": ClippedLARS(random_parameters([(2, 3)])).state_dict(),
        r"parameter 1: .*None": emptied,
        "adaptive": ClippedLARS(random_parameters([(2, 3), (4,)]), adaptive=False).state_dict(),
    }
    for message, state in misfits.items():
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
    assert all(torch.equal(optimizer.state[p]["momentum_buffer"], b) for p, b in zip(parameters, momentum, strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_a_tensor_without_a_gradient_is_left_alone():
    parameters = random_parameters([(2, 2), (3, 3), (2,)])
    optimizer = ClippedLARS([(f"layer{i}", p) for i, p in enumerate(parameters)])
    train(optimizer, parameters, range(2))
    before = [(p.detach().clone(), optimizer.state[p]["momentum_buffer"].clone()) for p in parameters]
    last = optimizer.trust_ratios[1].item()
    give_gradients(parameters, 2)
    parameters[0].grad = parameters[2].grad = None
    optimizer.step()
    is_equal = [
        torch.equal(p, weight) and torch.equal(optimizer.state[p]["momentum_buffer"], buffer)
        for p, (weight, buffer) in zip(parameters, before, strict=True)
    ]
    assert is_equal == [True, False, True]
    assert math.isnan(optimizer.trust_ratios[0].item()) and optimizer.trust_ratios[1].item() != last
    assert list(optimizer.trust_ratio_summary().layers) == ["layer1"]
    parameters[1].grad = None
    optimizer.step()
    assert optimizer.trust_ratio_summary() is None


def test_the_summary_of_a_step():
    """Ratios 0.01 |w| / |g| of 0.05, 0.5 and 50 under a clip of 2, and one zero norm."""
    parameters = [torch.nn.Parameter(torch.full((1, 1), 5.0)) for _ in range(4)]
    names = ["a.weight", "b.weight", "c.weight", "d.weight"]
    optimizer = ClippedLARS(
        list(zip(names, parameters, strict=True)), lr=0.0, trust=0.01, clip=2.0, weight_decay=0.0, eps=1e-12
    )
    assert optimizer.trust_ratio_summary() is None  # no step yet
    for parameter, gradient in zip(parameters, (1.0, 0.1, 1e-3, 0.0), strict=True):
        parameter.grad = torch.full((1, 1), gradient)
    optimizer.step()
    summary = optimizer.trust_ratio_summary()
    found = [summary.minimum, summary.median, summary.largest_unclipped, summary.share_clipped]
    assert found == pytest.approx([0.05, 0.75, 50.0, 0.25])
    assert list(summary.layers) == names
    assert summary.layers["c.weight"] == LayerTrustRatio(pytest.approx(50.0), 2.0)
    assert summary.layers["d.weight"] == LayerTrustRatio(1.0, 1.0)


def test_without_names_layers_are_numbered_by_group():
    sets = random_parameters(), random_parameters([(2,), (2, 2)])
    optimizer = ClippedLARS([{"params": some} for some in sets])
    train(optimizer, [*sets[0], *sets[1]], range(1))
    layers = optimizer.trust_ratio_summary().layers
    assert list(layers) == ["group0.0", "group0.2", "group0.4", "group0.5", "group1.1"]


@pytest.mark.parametrize("prefix_horizon", [0, 5])
@pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])
def test_a_network_is_split_whatever_its_weights_are(spec, prefix_horizon):
    """The output layers are long not zero here, as in a resumed run."""
    network = tiny_network(spec, prefix_horizon=prefix_horizon)
    scaled, plain = parameter_groups(network, weight_decay=0.03)
    assert (scaled["adaptive"], scaled["weight_decay"]) == (True, 0.03)
    assert (plain["adaptive"], plain["weight_decay"]) == (False, 0.0)
    names = [name for name, _ in scaled["params"]] + [name for name, _ in plain["params"]]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    heads = "{}_head.output.weight" if spec is IMAGE_SPEC else "{}_output.weight"
    matrices = {name for name, p in plain["params"] if p.ndim >= 2}
    assert matrices == {heads.format(head) for head in ("prefix", "policy", "value")}
    assert all(p.ndim >= 2 for _, p in scaled["params"])


@pytest.mark.parametrize(("name", "clip"), [("clipped_lars", 7.0), ("lars", INF)])
def test_built_from_the_configuration(name, clip):
    network = tiny_network(VECTOR_SPEC)
    config = OptimizerConfig(
        name=name, learning_rate=0.4, momentum=0.8, weight_decay=0.01, trust=0.1, clip=7.0, eps=1e-6
    )
    optimizer = build_optimizer(config, network)
    assert isinstance(optimizer, ClippedLARS)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    for group in optimizer.param_groups:
        assert [group[key] for key in ("lr", "momentum", "trust", "clip", "eps")] == [0.4, 0.8, 0.1, clip, 1e-6]
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    layers = optimizer.trust_ratio_summary().layers
    assert "representation.0.0.weight" in layers and "policy_output.weight" not in layers


def test_a_network_of_biases_alone_has_one_group():
    norm = torch.nn.LayerNorm(3)
    (group,) = build_optimizer(OptimizerConfig(name="clipped_lars"), norm).param_groups
    assert not group["adaptive"] and len(group["params"]) == 2


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
