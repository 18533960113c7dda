"""An optimiser goes on from what was written down of it as if it had never stopped: the same weights, to the bit."""

import copy
import json
import math

import pytest
import safetensors.torch
import torch

from speedyzero.checkpoint.optimizer_state import pack_optimizer, unpack_optimizer
from speedyzero.config import OptimizerConfig
from speedyzero.learner.device_step import make_state, state_tensors
from speedyzero.learner.optimizers import build_optimizer
from speedyzero.model.base import ZeroLinear

CONFIGS = [
    OptimizerConfig(name="sgd", momentum=0.9),
    OptimizerConfig(name="sgd", momentum=0.0),
    OptimizerConfig(name="clipped_lars", trust=0.5, clip=1.0),
    OptimizerConfig(name="lars"),  # its clip is infinite
    OptimizerConfig(name="adamw", learning_rate=3e-3),
]


def make_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.ReLU(), ZeroLinear(4, 3))


def train(network: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        inputs, wanted = torch.randn(8, 5, generator=generator), torch.randn(8, 3, generator=generator)
        optimizer.zero_grad()
        (network(inputs) - wanted).square().mean().backward()
        optimizer.step()


def written_and_read(state_dict) -> dict:
    """Through bytes, as a checkpoint does it."""
    tensors, rest = pack_optimizer(state_dict)
    text = json.dumps(rest, allow_nan=False)
    return unpack_optimizer(safetensors.torch.load(safetensors.torch.save(tensors)), json.loads(text))


def bits(value) -> object:
    """Comparable to the bit: a tensor's type and bytes, a number's type and hexadecimal form."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return [(key, bits(entry)) for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [bits(entry) for entry in value]
    return type(value), value.hex() if isinstance(value, float) else value


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}-{config.momentum}")
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_training_goes_on_to_the_bit(config, steps):
    network = make_network()
    optimizer = build_optimizer(config, network)
    train(network, optimizer, range(steps))
    state = written_and_read(optimizer.state_dict())
    assert bits(state) == bits(optimizer.state_dict())
    successor = copy.deepcopy(network)
    resumed = build_optimizer(config, successor)
    resumed.load_state_dict(state)
    train(network, optimizer, range(steps, steps + 5))
    train(successor, resumed, range(steps, steps + 5))
    assert bits(successor.state_dict()) == bits(network.state_dict())
    assert bits(resumed.state_dict()) == bits(optimizer.state_dict())


@pytest.mark.parametrize("name", ["sgd", "clipped_lars", "adamw"])
def test_state_made_beforehand_and_a_rate_on_the_device_come_through(name):
    """As on a GPU: the rate is a tensor, momentum is there before the first step."""
    config = OptimizerConfig(name=name)
    optimizers = []
    for _ in range(2):
        optimizers.append(build_optimizer(config, make_network(), capturable=name != "adamw"))
        for group in optimizers[-1].param_groups:
            group["lr"] = torch.zeros(())
        make_state(optimizers[-1])
    first, second = optimizers
    for index, tensor in enumerate(state_tensors(first)):
        tensor.fill_(index + 0.5)
    second.load_state_dict(written_and_read(first.state_dict()))
    assert bits(second.state_dict()) == bits(first.state_dict())


def test_numbers_that_json_does_not_know_come_through():
    state = {
        "state": {0: {"step": torch.tensor(3.0)}, 7: {}},
        "param_groups": [{"clip": math.inf, "low": -math.inf, "betas": (0.9, 0.999), "lr": 0.1, "params": [0, 7]}],
    }
    assert bits(written_and_read(state)) == bits(state)


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match="complex"):
        pack_optimizer({"state": {0: {"x": 1j}}, "param_groups": []})


def packed():
    optimizer = build_optimizer(OptimizerConfig(name="adamw"), make_network())
    make_state(optimizer)
    return pack_optimizer(optimizer.state_dict())


def test_a_tensor_too_many_or_too_few_is_refused():
    tensors, rest = packed()
    with pytest.raises(ValueError, match="does not name tensor extra"):
        unpack_optimizer({**tensors, "extra": torch.zeros(1)}, rest)
    tensors.pop(sorted(tensors)[0])
    with pytest.raises(ValueError, match="not one that was packed"):
        unpack_optimizer(tensors, rest)


@pytest.mark.parametrize(
    "rest", [None, [], {"items": []}, {"items": [[0]]}, {"what": 1}, {"tensor": "no"}, {"a": 1, "b": 2}]
)
def test_rests_of_something_else_are_refused(rest):
    with pytest.raises(ValueError, match="optimiser's state"):
        unpack_optimizer({}, rest)
