"""What a run needs of Clipped LARS: ranks that agree, steps without waiting, saved states, groups, a summary."""

import io
import math

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from speedyzero.config import OptimizerConfig
from speedyzero.learner.clipped_lars import ClippedLARS, parameter_groups
from speedyzero.learner.optimizers import build_optimizer
from tests.learner.parameters import SHAPES, clipped_ratios, give_gradients, random_parameters, train
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network


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
        with pytest.raises(DataDependentOutputException):
            optimizer.trust_ratios_by_layer()  # the one place that reads


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
    assert clipped_ratios(optimizer) == clipped_ratios(reference)[1:]
    assert list(optimizer.trust_ratios_by_layer()) == ["layer1", "layer2"]
    optimizer.zero_grad()
    optimizer.step()
    assert optimizer.trust_ratios_by_layer() == {}


def test_the_ratios_of_a_step():
    """Ratios 0.01 |w| / |g| of 0.05, 0.5 and 50 under a clip of 2, and one zero norm."""
    parameters = [torch.nn.Parameter(torch.full((1, 1), 5.0)) for _ in range(4)]
    names = ["a.weight", "b.weight", "c.weight", "d.weight"]
    optimizer = ClippedLARS(
        list(zip(names, parameters, strict=True)), lr=0.0, trust=0.01, clip=2.0, weight_decay=0.0, eps=1e-12
    )
    assert optimizer.trust_ratios_by_layer() == {}  # no step yet
    for parameter, gradient in zip(parameters, (1.0, 0.1, 1e-3, 0.0), strict=True):
        parameter.grad = torch.full((1, 1), gradient)
    optimizer.step()
    ratios = optimizer.trust_ratios_by_layer()
    assert list(ratios) == names
    assert [before for before, _ in ratios.values()] == pytest.approx([0.05, 0.5, 50.0, 1.0])
    assert [after for _, after in ratios.values()] == pytest.approx([0.05, 0.5, 2.0, 1.0])


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
