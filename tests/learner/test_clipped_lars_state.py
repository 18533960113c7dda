"""What a run needs of Clipped LARS: groups, a summary. Steps without waiting: test_trainer.py; saved
states: tests/checkpoint/test_optimizer_state.py."""

import math

import pytest
import torch

from speedyzero.config import OptimizerConfig
from speedyzero.learner.clipped_lars import ClippedLARS, parameter_groups
from speedyzero.learner.optimizers import build_optimizer
from tests.learner.parameters import clipped_ratios, give_gradients, random_parameters, train
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network


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
