"""pUCT by hand, and its choices among equals."""

import math

import numpy as np
import pytest
import torch

from speedyzero.search import RootOutput, SearchConfig, StepOutput, search
from tests.kernels.backends import TREE_BACKENDS as BACKENDS
from tests.search.models import TableModel


def scripted_model(steps, calls):
    """A model of one root that answers the k-th call with steps[k] = (reward, value, priors) and records the calls."""

    def recurrent(state, action):
        reward, value, priors = steps[len(calls)]
        calls.append((state["name"].item(), state["prefix_state_c"].item(), action.item()))
        new_state = {"name": torch.tensor([len(calls)]), "prefix_state_c": torch.tensor([[10.0 * len(calls)]])}
        return StepOutput(torch.tensor([reward]), torch.tensor([value]), torch.tensor([priors]).log(), new_state)

    return recurrent


def scripted_root(priors, value):
    state = {"name": torch.tensor([0]), "prefix_state_c": torch.tensor([[0.5]])}
    return RootOutput(torch.tensor([priors]).log(), torch.tensor([value]), state)


# Three simulations by hand. Discount 0.5, c(T) = sqrt(T + 1) (base so large that the logarithm vanishes, init 1),
# no noise. Root 0: value 1, priors (0.6, 0.4).
#
# 1. Root, T = 0: c = 1. No child: mean q 0. No extremes: v = clip(0) = 0. u = (0.6, 0.4). Action 0.
#    Node 1: prefix 0.5, value 1, priors (0.3, 0.7), depth 1. reward(0, 0) = 0.5 - 0 = 0.5.
#    Backup: edge (0, 0): W = 1, N = 1, q = 0.5 + 0.5 * 1 = 1. Extremes 1, 1. G = 0.5 + 0.5 * 1 = 1. Total 1 + 1 = 2.
# 2. Root, T = 1: c = 1.41421. Mean q = 1. Extremes equal: q as it is. v = (1, 1).
#    u = (0.6 * 1.41421 / 2, 0.4 * 1.41421 / 1) = (0.42426, 0.56569). Action 1.
#    Node 2: prefix -0.25, value 0.5. reward(0, 1) = -0.25.
#    Backup: edge (0, 1): W = 0.5, N = 1, q = -0.25 + 0.5 * 0.5 = 0. Extremes 0, 1. G = -0.25 + 0.25 = 0. Total 2.
# 3. Root, T = 2: c = 1.73205. v = (1, 0). u = (0.6 * 1.73205 / 2, 0.4 * 1.73205 / 2) = (0.51962, 0.34641). Action 0.
#    Node 1, T = 0: c = 1. Mean q = (mean q of the root (1 + 0) / 2 + nothing) / (0 + 1) = 0.5; v = (0.5, 0.5).
#    u = (0.3, 0.7). Action 1.
#    Node 3: prefix 0.75, value 2, depth 2.
#    Horizon 2: the root did not reset, nor did node 1: reward(1, 1) = 0.75 - 0.5 = 0.25.
#       Backup: edge (1, 1): W = 2, q = 0.25 + 0.5 * 2 = 1.25, G = 0.25 + 1 = 1.25.
#       Edge (0, 0): W = 1 + 1.25 = 2.25, N = 2, q = 0.5 + 0.5 * 1.125 = 1.0625, G = 0.5 + 0.625 = 1.125. Total 3.125.
#       Value = 3.125 / 4 = 0.78125.
#    Horizon 1: node 1 was reset: reward(1, 1) = 0.75; its prefix state was 0 when node 3 was made from it.
#       Edge (1, 1): q = 0.75 + 1 = 1.75, G = 1.75. Edge (0, 0): W = 2.75, q = 0.5 + 0.5 * 1.375 = 1.1875,
#       G = 0.5 + 0.875 = 1.375. Total 3.375. Value = 3.375 / 4 = 0.84375.
#    Horizon 0: the outputs are rewards: reward(1, 1) = 0.75 and everything else as with horizon 1, but no reset.
STEPS = [(0.5, 1.0, [0.3, 0.7]), (-0.25, 0.5, [0.5, 0.5]), (0.75, 2.0, [0.5, 0.5])]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "horizon, q_of_action_0, value, prefix_state_of_node_1",
    [(2, 1.0625, 0.78125, 10.0), (1, 1.1875, 0.84375, 0.0), (0, 1.1875, 0.84375, 10.0)],
)
def test_three_simulations_by_hand(backend, horizon, q_of_action_0, value, prefix_state_of_node_1):
    config = SearchConfig(
        num_simulations=3, discount=0.5, pb_c_base=1e12, pb_c_init=1.0, root_noise_fraction=0.0,
        prefix_horizon=horizon, backend=backend,
    )  # fmt: skip
    calls: list = []
    result = search(scripted_root([0.6, 0.4], 1.0), scripted_model(STEPS, calls), config)
    assert calls == [(0, 0.5, 0), (0, 0.5, 1), (1, prefix_state_of_node_1, 1)]
    assert result.visits.tolist() == [[2, 1]]
    assert result.action.tolist() == [0]
    np.testing.assert_allclose(result.policy, [[2 / 3, 1 / 3]], atol=1e-6)
    np.testing.assert_allclose(result.q_values, [[q_of_action_0, 0.0]], atol=1e-6)
    np.testing.assert_allclose(result.value, [value], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_go_to_the_lowest_index(backend):
    """Where everything is equal the visits go round from the left, and so does the action."""
    root = RootOutput(torch.zeros(2, 4), torch.zeros(2), {"latent": torch.zeros(2, 1)})
    step = StepOutput(torch.zeros(2), torch.zeros(2), torch.zeros(2, 4), root.state)
    config = SearchConfig(num_simulations=6, root_noise_fraction=0.0, backend=backend)
    result = search(root, lambda state, action: step, config)
    assert result.visits.tolist() == [[2, 2, 1, 1]] * 2
    assert result.action.tolist() == [0, 0]


def test_drawn_noise_is_symmetric():
    """Under pure noise the first pick is the largest entry of a Dirichlet sample: each action equally often."""
    batch = 2000
    model = TableModel.random(0, 4, has_prefix=False)
    config = SearchConfig(num_simulations=1, root_noise_fraction=1.0, prefix_horizon=0)
    generator = torch.Generator().manual_seed(5)
    result = search(model.root(np.zeros(batch, int)), model.recurrent, config, generator=generator)
    share = result.visits.sum(0) / batch
    assert ((share - 0.25).abs() < 5 * math.sqrt(0.25 * 0.75 / batch)).all()
