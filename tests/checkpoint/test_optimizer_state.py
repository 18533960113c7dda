"""An optimiser continues from what was written down of it as if it had never stopped: the same weights, to the bit."""

import copy

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


def written_and_read(optimizer) -> dict:
    """Its state through bytes, as a checkpoint does it; the settings are its own."""
    tensors = safetensors.torch.save(pack_optimizer(optimizer.state_dict()["state"]))
    return {**optimizer.state_dict(), "state": unpack_optimizer(safetensors.torch.load(tensors))}


def bits(value) -> object:
    """Comparable to the bit: a tensor's type and bytes, whatever the order of a dict."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes())
    if isinstance(value, dict):
        return {key: bits(entry) for key, entry in value.items()}
    return [bits(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.name}-{config.momentum}")
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_training_goes_on_to_the_bit(config, steps):
    network = make_network()
    optimizer = build_optimizer(config, network)
    train(network, optimizer, range(steps))
    state = written_and_read(optimizer)
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
    second.load_state_dict(written_and_read(first))
    assert bits(second.state_dict()) == bits(first.state_dict())


def test_what_is_no_tensor_is_refused():
    with pytest.raises(ValueError, match="1j at 0/x"):
        pack_optimizer({0: {"x": 1j}})
    with pytest.raises(ValueError, match="'x/0' is not"):
        unpack_optimizer({"x/0": torch.zeros(1)})
