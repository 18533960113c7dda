"""Weights as one vector and back."""

import pytest
import torch

from speedyzero.model.flat import flatten, unflatten_into
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network
from tests.refusal import refusal

SPECS = pytest.mark.parametrize("spec", [IMAGE_SPEC, VECTOR_SPEC], ids=["image", "vector"])


@SPECS
def test_round_trip(spec):
    source, target = tiny_network(spec, seed=0), tiny_network(spec, seed=1)
    places = {name: tensor.data_ptr() for name, tensor in target.state_dict().items()}
    learner_only = {
        name: tensor.clone()
        for name, tensor in target.state_dict().items()
        if name.split(".")[0] in ("projector", "predictor")
    }
    assert learner_only
    unflatten_into(target, flatten(source))
    wanted = source.state_dict()
    for name, tensor in target.state_dict().items():
        if name in learner_only:
            assert torch.equal(tensor, learner_only[name]), name
        elif tensor.is_floating_point():
            assert torch.equal(tensor, wanted[name]), name
        assert tensor.data_ptr() == places[name]


@SPECS
def test_flat_weights_are_a_copy_in_float32(spec):
    network = tiny_network(spec)
    flat = flatten(network)
    assert flat.dtype == torch.float32 and not flat.requires_grad and flat.device.type == "cpu"
    before = flat.clone()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert torch.equal(flat, before)


@pytest.mark.parametrize("change", [-1, 1])
def test_another_size_is_refused_and_nothing_written(change):
    network = tiny_network(VECTOR_SPEC)
    flat = flatten(network)
    line = refusal(unflatten_into, network, torch.zeros(len(flat) + change))
    assert str(len(flat) + change) in line and str(len(flat)) in line and torch.equal(flatten(network), flat)
