"""What a run needs of Clipped LARS: ranks that agree, steps without waiting, saved states, groups, a summary."""

import io
import math

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from speedyzero.config import OptimizerConfig
from speedyzero.learner.clipped_lars import ClippedLARS, LayerTrustRatio, parameter_groups
from speedyzero.learner.optimizers import build_optimizer
from tests.learner.parameters import SHAPES, give_gradients, random_parameters, train
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network


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
    ratios = optimizer._ratios[0]
    kept = [*(optimizer.state[p]["momentum_buffer"] for p in parameters), rate, ratios.unclipped, ratios.clipped]
    addresses = [tensor.data_ptr() for tensor in kept]
    train(optimizer, parameters, range(3))
    optimizer.load_state_dict(ClippedLARS(random_parameters(), lr=0.1).state_dict())
    train(optimizer, parameters, range(3))
    ratios, rate = optimizer._ratios[0], optimizer.param_groups[0]["lr"]
    now = [*(optimizer.state[p]["momentum_buffer"] for p in parameters), rate, ratios.unclipped, ratios.clipped]
    assert [tensor.data_ptr() for tensor in now] == addresses
    assert rate.item() == pytest.approx(0.1)


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
    """And the others take their own ratios."""
    shapes = [(2, 2), (3, 3), (1, 4), (2,)]
    parameters, references = random_parameters(shapes), random_parameters(shapes)
    optimizer, reference = ClippedLARS([(f"layer{i}", p) for i, p in enumerate(parameters)]), ClippedLARS(references)
    train(optimizer, parameters, range(2))
    train(reference, references, range(2))
    before = [(p.detach().clone(), optimizer.state[p]["momentum_buffer"].clone()) for p in parameters]
    for some in (parameters, references):
        give_gradients(some, 2)
    parameters[0].grad = parameters[3].grad = None
    optimizer.step()
    reference.step()
    for i in (0, 3):
        assert torch.equal(parameters[i], before[i][0])
        assert torch.equal(optimizer.state[parameters[i]]["momentum_buffer"], before[i][1])
    for i in (1, 2):
        assert torch.equal(parameters[i], references[i]) and not torch.equal(parameters[i], before[i][0])
    assert math.isnan(optimizer.trust_ratios[0].item())
    assert torch.equal(optimizer.trust_ratios[1:], reference.trust_ratios[1:])
    assert list(optimizer.trust_ratio_summary().layers) == ["layer1", "layer2"]
    optimizer.zero_grad()
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


@pytest.mark.parametrize(("name", "clip"), [("clipped_lars", 7.0), ("lars", math.inf)])
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
    assert "representation.1.0.weight" in layers and "policy_output.weight" not in layers


def test_a_network_of_biases_alone_has_one_group():
    norm = torch.nn.LayerNorm(3)
    (group,) = build_optimizer(OptimizerConfig(name="clipped_lars"), norm).param_groups
    assert not group["adaptive"] and len(group["params"]) == 2
