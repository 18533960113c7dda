"""Inference and search with published weights, against the training network that they came from."""

import numpy as np
import pytest
import torch

from speedyzero.config import SearchConfig
from speedyzero.model.agent import Agent
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.flat import flatten
from speedyzero.model.observation import to_network_input
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, TINY_MODEL, VECTOR_SPEC, tiny_config, tiny_network

SPECS = {"image": IMAGE_SPEC, "vector": VECTOR_SPEC}


def observations(spec, batch: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if spec.is_image:
        return rng.integers(256, size=(batch, 2, *spec.shape), dtype=np.uint8)
    return rng.normal(size=(batch, 2, *spec.shape)).astype(np.float32)


@pytest.mark.parametrize("prefix_horizon", [0, 5])
@pytest.mark.parametrize("kind", SPECS)
def test_root_and_steps_are_the_training_network_s_in_evaluation_mode(kind, prefix_horizon):
    spec = SPECS[kind]
    config = tiny_config(prefix_horizon=prefix_horizon)
    agent = Agent(config, spec, NUM_ACTIONS)
    stacked = observations(spec, 3)
    assert agent.version == -1
    for version in (0, 7):
        network = tiny_network(spec, prefix_horizon=prefix_horizon, seed=version)
        agent.load(flatten(network), version=version)
        assert agent.version == version
        expect_outputs(agent, network.eval(), stacked)


def expect_outputs(agent: Agent, network, stacked: np.ndarray) -> None:
    value_codec, prefix_codec = ScalarCodec(TINY_MODEL.value_codec), ScalarCodec(TINY_MODEL.prefix_codec)
    root = agent.root(stacked)
    with torch.no_grad():
        latent = network.represent(to_network_input(torch.from_numpy(stacked)))
        prediction = network.predict(latent)
    close(root.policy_logits, prediction.policy_logits)
    close(root.value, value_codec.decode(prediction.value_logits))
    state, prefix_state = root.state, network.initial_prefix_state(len(stacked))
    assert set(state) == {"latent", *prefix_state}
    for action in (torch.tensor([0, 1, 4]), torch.tensor([2, 2, 3])):
        step = agent.recurrent(state, action)
        with torch.no_grad():
            transition = network.dynamics(latent, action, prefix_state)
            prediction = network.predict(transition.latent)
        close(step.reward, prefix_codec.decode(transition.prefix_logits))
        close(step.value, value_codec.decode(prediction.value_logits))
        close(step.policy_logits, prediction.policy_logits)
        for key, tensor in {"latent": transition.latent, **transition.prefix_state}.items():
            close(step.state[key], tensor)
        state, latent, prefix_state = step.state, transition.latent, transition.prefix_state


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.abs().max() > 1e-3  # a dead network would agree with anything
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def agent_with(**search) -> Agent:
    agent = Agent(tiny_config(search=SearchConfig(**search)), VECTOR_SPEC, NUM_ACTIONS)
    agent.load(flatten(tiny_network(VECTOR_SPEC)), version=0)
    return agent


@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_no_noise_means_none(algorithm):
    """Also where the configuration asks for noise: the same search every time."""
    stacked = observations(VECTOR_SPEC, 3)
    agent = agent_with(algorithm=algorithm, num_simulations=8, root_noise_fraction=0.9, gumbel_scale=1.0)
    first, second = agent.search(stacked), agent.search(stacked)
    assert torch.equal(first.policy, second.policy) and torch.equal(first.value, second.value)
    silent = agent_with(algorithm=algorithm, num_simulations=8, root_noise_fraction=0.0, gumbel_scale=0.0)
    assert torch.equal(silent.search(stacked).policy, first.policy)


@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_given_noise_is_used(algorithm):
    stacked = observations(VECTOR_SPEC, 2)
    agent = agent_with(algorithm=algorithm, num_simulations=8, root_noise_fraction=1.0, max_considered_actions=1)
    noise = np.full((2, NUM_ACTIONS), 1e-6 if algorithm == "puct" else -20.0, np.float32)
    noise[0, 3] = noise[1, 1] = 1.0 if algorithm == "puct" else 20.0
    result = agent.search(stacked, noise=noise)
    assert result.visits[0].argmax() == 3 and result.visits[1].argmax() == 1


def test_simulations_as_configured_or_as_asked():
    agent, stacked = agent_with(num_simulations=8), observations(VECTOR_SPEC, 2)
    assert agent.search(stacked).visits.sum(1).tolist() == [8, 8]
    assert agent.search(stacked, simulations=3).visits.sum(1).tolist() == [3, 3]


def test_a_search_goes_on_from_its_root():
    agent, stacked = agent_with(num_simulations=8), observations(VECTOR_SPEC, 2)
    root = agent.root(stacked)
    result = agent.search_from(root)
    assert torch.equal(result.policy, agent.search(stacked).policy)
    assert not root.state["prefix_state_h"].any()  # the search leaves its root alone


def test_ties_are_seeded():
    agent = agent_with(num_simulations=2, first_pick="uniform", prefix_horizon=5)
    stacked = observations(VECTOR_SPEC, 64)
    first, again, other = (agent.search(stacked, tie_seed=seed).visits for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
