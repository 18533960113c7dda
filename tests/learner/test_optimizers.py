"""Which optimiser a name builds, with which settings, and that it keeps as much as is reckoned with."""

import pytest
import torch

from speedyzero.config import OptimizerConfig, choices
from speedyzero.learner.device_step import make_state, state_tensors
from speedyzero.learner.optimizers import OPTIMIZERS, build_optimizer


def test_sgd_decays_every_parameter():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = build_optimizer(OptimizerConfig(momentum=0.8, weight_decay=0.01), network)
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert group["momentum"] == 0.8 and group["weight_decay"] == 0.01
    assert not group["nesterov"] and group["dampening"] == 0
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


def test_adamw():
    optimizer = build_optimizer(OptimizerConfig(name="adamw", momentum=0.8, weight_decay=0.01), torch.nn.Linear(2, 3))
    assert isinstance(optimizer, torch.optim.AdamW)
    (group,) = optimizer.param_groups
    assert group["betas"] == (0.8, 0.999) and group["weight_decay"] == 0.01 and len(group["params"]) == 2


def test_every_name_has_an_optimiser():
    assert tuple(OPTIMIZERS) == choices(OptimizerConfig, "name")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimiser_keeps_is_what_is_reckoned_with(name):
    """For each parameter, besides a few numbers for a whole tensor (such as a step)."""
    network = torch.nn.Linear(20, 30)
    optimizer = build_optimizer(OptimizerConfig(name=name), network)
    make_state(optimizer)
    kept = sum(tensor.numel() for tensor in state_tensors(optimizer) if tensor.numel() > 1)
    assert kept == OPTIMIZERS[name].moments * sum(parameter.numel() for parameter in network.parameters())
