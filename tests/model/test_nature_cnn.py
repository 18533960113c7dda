"""The strided convolutional network: what travels with its weights, and its standardised input."""

from dataclasses import replace

import numpy as np
import torch

from speedyzero.env.base import ObservationSpec
from speedyzero.model.agent import Agent
from speedyzero.model.build import build_network
from speedyzero.model.flat import flatten
from speedyzero.model.input_norm import FOLLOWED_STEPS, LIMIT, SMALLEST_DEVIATION, InputNorm
from speedyzero.model.observation import to_network_input
from tests.model.networks import NUM_ACTIONS, TINY_MODEL, randomise, tiny_config

SPEC = ObservationSpec(shape=(40, 40, 1), dtype=np.dtype(np.uint8))
CONFIG = tiny_config(prefix_horizon=0, model=replace(TINY_MODEL, network="nature_cnn"))


def a_network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(CONFIG, SPEC, NUM_ACTIONS)
    randomise(network, seed=0)
    return network


def frames(batch: int, *, seed: int = 0) -> np.ndarray:
    """[B, S, H, W, C]: a bright, noisy picture and little that changes, as Atari's."""
    rng = np.random.default_rng(seed)
    picture = np.random.default_rng(9).integers(150, 200, size=SPEC.shape)
    return (picture + rng.integers(0, 3, size=(batch, 2, *SPEC.shape))).astype(np.uint8)


def test_convolutions_and_the_mean_image_lie_channels_last():
    """Else each pass copies its frames, twice: a sixth of a train step."""
    network = a_network()
    images = [tensor for tensor in network.state_dict().values() if tensor.dim() == 4 and tensor.shape[1] > 1]
    assert len(images) == 5 and all(t.is_contiguous(memory_format=torch.channels_last) for t in images)
    assert to_network_input(torch.from_numpy(frames(3))).is_contiguous(memory_format=torch.channels_last)


def test_statistics_are_those_of_the_batches_and_then_stay():
    norm = InputNorm((2, 4, 4))
    generator = torch.Generator().manual_seed(0)
    batches = [0.4 + 0.1 * torch.rand(8, 2, 4, 4, generator=generator) for _ in range(FOLLOWED_STEPS)]
    for batch in batches:
        norm(batch)
    whole = torch.cat(batches)
    torch.testing.assert_close(norm.mean, whole.mean(0, keepdim=True))
    expected = (whole - whole.mean(0)) / (whole.std(0, correction=0) + SMALLEST_DEVIATION)
    torch.testing.assert_close(norm.eval()(whole), expected, rtol=1e-4, atol=1e-4)
    before = norm.train().mean.clone()
    norm(torch.ones(8, 2, 4, 4))
    assert torch.equal(norm.mean, before)


def test_statistics_move_in_training_passes_alone():
    norm = InputNorm((1, 4, 4))
    with torch.no_grad():  # the pass that makes consistency targets
        norm(torch.rand(8, 1, 4, 4))
    norm.eval()(torch.rand(8, 1, 4, 4))
    assert norm.steps == 0 and not norm.mean.any()


def test_a_pixel_that_never_changed_drowns_nothing():
    """A digit of a score that was never reached, on the day that it is: as loud as a ball, and no louder."""
    norm = InputNorm((1, 8, 8))
    for seed in range(20):
        batch = torch.full((16, 1, 8, 8), 0.35)
        place = torch.randint(1, 8, (16, 2), generator=torch.Generator().manual_seed(seed))
        batch[torch.arange(16), 0, place[:, 0], place[:, 1]] = 0.9  # the ball, which never is in the first row
        norm(batch)
    shown = torch.full((1, 1, 8, 8), 0.35)
    shown[0, 0, 0, 0] = shown[0, 0, 5, 5] = 0.9
    found = norm.eval()(shown)[0, 0]
    assert found[0, 0] == LIMIT and 0.7 * LIMIT < found[5, 5] <= LIMIT and found[3, 3].abs() < 0.3


def test_statistics_travel_with_the_weights():
    """Published, saved and loaded: what acts standardises as what trains does."""
    network = a_network().train()
    observation = to_network_input(torch.from_numpy(frames(8)))
    network.represent(observation)
    network.eval()
    agent = Agent(CONFIG, SPEC, NUM_ACTIONS)
    agent.load(flatten(network), version=1)
    torch.testing.assert_close(agent.root(frames(8)).state["latent"], network.represent(observation).detach())
    again = build_network(CONFIG, SPEC, NUM_ACTIONS)
    again.load_state_dict(network.state_dict())
    assert again.representation[0].steps == 1 and torch.equal(
        again.representation[0].mean, network.representation[0].mean
    )
