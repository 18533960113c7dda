"""The action convolution against the concatenation that it stands for, and folded layers against batch norm."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.model.blocks import ActionConv, conv_norm, fold_into, linear_norm
from speedyzero.model.build import build_network
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, randomise, tiny_config, tiny_network


@pytest.mark.parametrize("num_actions", [4, 18])
def test_action_conv_is_the_65_channel_concatenation(num_actions):
    """In training mode: batch statistics too see what they would of the concatenation."""
    block = ActionConv(64, num_actions, folded=False)
    latent = torch.randn(num_actions, 64, 6, 6, generator=torch.Generator().manual_seed(0))
    action = torch.arange(num_actions)
    plane = torch.stack([torch.full((1, 6, 6), a / num_actions) for a in range(num_actions)])
    assert not plane[0].any()
    expected = F.conv2d(torch.cat([latent, plane], 1), block.layer.weight, padding=1)
    mean, variance = expected.mean((0, 2, 3)), expected.var((0, 2, 3), correction=0)
    expected = (expected - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    torch.testing.assert_close(block.convolve(latent, action), expected, rtol=1e-4, atol=1e-5)


def test_action_conv_gives_the_concatenation_s_gradient():
    block = ActionConv(3, 4, folded=True)
    latent = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    action = torch.tensor([3, 1])
    plane = (action / 4).view(2, 1, 1, 1).expand(2, 1, 5, 4)
    direct = F.conv2d(torch.cat([latent, plane], 1), block.layer.weight, block.layer.bias, padding=1)
    factor = torch.randn_like(direct)
    expected = torch.autograd.grad((direct * factor).sum(), [block.layer.weight, block.layer.bias])
    actual = torch.autograd.grad(
        (block.convolve(latent, action) * factor).sum(), [block.layer.weight, block.layer.bias]
    )
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda folded: conv_norm(3, 5, folded=folded), (2, 3, 7, 6)),
        (lambda folded: conv_norm(3, 5, stride=2, folded=folded), (2, 3, 7, 6)),
        (lambda folded: conv_norm(3, 5, kernel=1, bias=True, folded=folded), (2, 3, 7, 6)),
        (lambda folded: linear_norm(3, 5, folded=folded), (4, 3)),
    ],
)
def test_a_folded_layer_is_the_layer_and_its_norm(build, shape):
    source, folded = build(False).eval(), build(True).eval()
    randomise(source, seed=0)
    folded.fold_from(source)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(folded(x), source(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix_horizon", [0, 5])
def test_a_folded_network_is_the_network_in_evaluation_mode(prefix_horizon):
    config = tiny_config(prefix_horizon=prefix_horizon)
    folded = build_network(config, IMAGE_SPEC, NUM_ACTIONS, folded=True).eval()
    places = {name: tensor.data_ptr() for name, tensor in folded.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    observation, action = torch.rand(3, 6, 36, 36, generator=generator), torch.tensor([0, 4, 2])
    seen = []
    for seed in (0, 1):  # a new version goes into the same network
        source = tiny_network(IMAGE_SPEC, prefix_horizon=prefix_horizon, seed=seed).eval()
        fold_into(folded, source)
        outputs = []
        for network in (folded, source):
            with torch.no_grad():
                latent = network.represent(observation)
                step = network.dynamics(latent, action, network.initial_prefix_state(3))
                step = network.dynamics(step.latent, action, step.prefix_state)
                prediction = network.predict(step.latent)
            prefix_state = list(step.prefix_state.values())
            outputs.append([latent, step.latent, step.prefix_logits, *prefix_state, *vars(prediction).values()])
        torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)
        seen.append(outputs[0])
    assert all((first - second).abs().max() > 1e-2 for first, second in zip(*seen, strict=True))
    assert {name: tensor.data_ptr() for name, tensor in folded.state_dict().items()} == places


def test_a_folded_network_has_neither_projector_nor_convolution_norms():
    folded = build_network(tiny_config(), IMAGE_SPEC, NUM_ACTIONS, folded=True)
    assert not any(name.startswith(("projector", "predictor")) for name in folded.state_dict())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
