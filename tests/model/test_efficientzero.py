"""The convolutional network against the design's account of it: its sizes and shapes. Its numbers: tests/parity."""

import pytest
import torch
from torch import nn

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.model.efficientzero import EfficientZeroNetwork, latent_grid, pool_count
from tests.model.networks import IMAGE_SPEC, TINY_MODEL, tiny_network


def parameter_count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def full_network(num_actions: int) -> EfficientZeroNetwork:
    spec = ObservationSpec(shape=(96, 96, 3), dtype=IMAGE_SPEC.dtype)
    network = build_network(Config(), spec, num_actions)
    assert isinstance(network, EfficientZeroNetwork)
    return network


def test_parameter_count_of_each_part():
    """B.2's table, A = 18, less the parameters that the reference never uses."""
    network = full_network(18)
    assert parameter_count(network.representation) == 318_016
    assert parameter_count(network.action_conv, network.dynamics_block, network.prefix_head) == 2_382_281
    assert parameter_count(network.prefix_head.lstm) == 2_232_320
    assert parameter_count(network.prediction_block, network.policy_head, network.value_head) == 133_611
    assert parameter_count(network.projector) == 4_465_664
    assert parameter_count(network.predictor) == 1_051_136


def test_only_the_output_layers_start_at_zero():
    network = full_network(6)
    outputs = {"policy_head.output", "value_head.output", "prefix_head.output"}
    zero = {
        name.removesuffix(".weight")
        for name, parameter in network.named_parameters()
        if name.endswith("weight") and not parameter.any()
    }
    assert zero == outputs
    assert all(not network.get_submodule(name).bias.any() for name in outputs)


@pytest.mark.parametrize(
    ("image_size_px", "pools", "grid"),
    [(96, 2, 6), (64, 2, 4), (48, 1, 6), (36, 1, 5), (84, 2, 6), (33, 1, 5), (24, 0, 6), (128, 3, 4)],
)
def test_latent_shape(image_size_px, pools, grid):
    """The two strided convolutions and each pool halve, rounding up, until 6 or fewer are left."""
    assert (pool_count(image_size_px), latent_grid(image_size_px)) == (pools, grid)


def test_plain_rewards_have_no_recurrent_state():
    network = tiny_network(IMAGE_SPEC, prefix_horizon=0)
    assert network.initial_prefix_state(2) == {}
    latent = network.represent(torch.rand(2, 6, 36, 36))
    transition = network.dynamics(latent, torch.tensor([0, 1]), {})
    assert transition.prefix_state == {}
    assert transition.prefix_logits.shape == (2, TINY_MODEL.prefix_codec.bins)
    assert not any("lstm" in name for name in network.state_dict())
