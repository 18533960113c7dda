"""The convolutional network against the design's account of it: its sizes, its shapes, and its numbers."""

import pytest
import torch
from torch import nn

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.model.efficientzero import EfficientZeroNetwork, latent_grid, pool_count
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, TINY_MODEL, tiny_network
from tests.model.plain_network import PlainNetwork


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


@pytest.mark.parametrize(("image_size_px", "pools"), [(36, 1), (96, 2)])
def test_every_output_against_plain_functions(image_size_px, pools):
    spec = ObservationSpec(shape=(image_size_px, image_size_px, 3), dtype=IMAGE_SPEC.dtype)
    network = tiny_network(spec).eval()
    plain = PlainNetwork(network.state_dict(), num_actions=NUM_ACTIONS, pools=pools)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        latent = network.represent(observation := torch.rand(4, 6, image_size_px, image_size_px, generator=generator))
        close(latent, plain.represent(observation))
        prefix_state = network.initial_prefix_state(4)
        h, c = torch.zeros(4, 6), torch.zeros(4, 6)
        for action in (torch.tensor([0, 1, 2, 4]), torch.tensor([3, 3, 0, 1])):
            transition = network.dynamics(latent, action, prefix_state)
            following, prefix_logits, h, c = plain.dynamics(latent, action, h, c)
            latent, prefix_state = transition.latent, transition.prefix_state
            close(latent, following)
            close(transition.prefix_logits, prefix_logits)
            close(prefix_state["prefix_state_h"], h)
            close(prefix_state["prefix_state_c"], c)
        prediction = network.predict(latent)
        policy_logits, value_logits = plain.predict(latent)
        close(prediction.policy_logits, policy_logits)
        close(prediction.value_logits, value_logits)
        projection = network.project(latent)
        close(projection, plain.project(latent))
        close(network.predict_projection(projection), plain.predict_projection(projection))


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.std() > 1e-3  # dead units would agree with anything
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_plain_rewards_have_no_recurrent_state():
    network = tiny_network(IMAGE_SPEC, prefix_horizon=0)
    assert network.initial_prefix_state(2) == {}
    latent = network.represent(torch.rand(2, 6, 36, 36))
    transition = network.dynamics(latent, torch.tensor([0, 1]), {})
    assert transition.prefix_state == {}
    assert transition.prefix_logits.shape == (2, TINY_MODEL.prefix_codec.bins)
    assert not any("lstm" in name for name in network.state_dict())
