"""Gumbel search by hand, and its sequences of considered visits. Beside mctx: benchmarks/bench_tree.py."""

from collections import Counter

import numpy as np
import pytest
import torch

from kernels.gumbel_select import considered_visits
from speedyzero.search import RootOutput, SearchConfig, StepOutput, search
from tests.kernels.backends import TREE_BACKENDS as BACKENDS
from tests.search.test_puct import scripted_model, scripted_root


@pytest.mark.parametrize("num_considered, simulations, want", [
    (4, 16, [0] * 4 + [1] * 4 + [2, 2, 3, 3, 4, 4, 5, 5]),  # 4 x 2 visits, then 2 x 4
    (8, 16, [0] * 8 + [1] * 4 + [2, 2, 3, 3][:4]),  # 8 x 1, 4 x 1, 2 x 2
    (2, 4, [0, 0, 1, 1]),  # 2 x 2
    (3, 8, [0, 0, 0, 1, 1, 2, 2, 3]),  # 2 phases: 3 x 1, then 2 x 2, then 2 x 2 cut off
    (1, 3, [0, 1, 2]),
    (16, 5, [0] * 5),  # fewer simulations than candidates
])  # fmt: skip
def test_considered_visits(num_considered, simulations, want):
    assert considered_visits(num_considered, simulations) == tuple(want)


# Two simulations by hand. Three actions, the two best of gumbel + logits considered, discount 0.5, root value 0.
# Priors (0.5, 0.3, 0.2), logits (-0.693, -1.204, -1.609), gumbel (0, 1, 1.5): sums (-0.693, -0.204, -0.109).
# Sequence for (2, 2): 0, 0.
# 1. Nothing visited: completed = root value everywhere, rescaled 0: sigma = 0. Action 2: reward 1, value 0.
#    q = 1, G = 1.
# 2. Unvisited: actions 0 and 1. v_mix = (0 + 1 * (0.2 * 1) / 0.2) / 2 = 0.5; completed (0.5, 0.5, 1), rescaled
#    (0, 0, 1): sigma of both candidates is 0. Action 1: reward 0, value 1. q = 0.5, G = 0.5.
# End. v_mix = (0 + 2 * (0.3 * 0.5 + 0.2 * 1) / 0.5) / 3 = 0.466667. Completed (0.466667, 0.5, 1), rescaled
#    (0, 0.0625, 1), scale (50 + 1) * 0.1 = 5.1: sigma = (0, 0.31875, 5.1).
#    Policy proportional to 0.5, 0.3 * e^0.31875 = 0.412622, 0.2 * e^5.1 = 32.80438; sum 33.717.
#    Action: among 1 and 2 (one visit each), -0.204 + 0.319 < -0.109 + 5.1: action 2.
#    Value = (0 + 1 + 0.5) / 3 = 0.5.
@pytest.mark.parametrize("backend", BACKENDS)
def test_two_simulations_by_hand(backend):
    config = SearchConfig(
        algorithm="gumbel", num_simulations=2, max_considered_actions=2, discount=0.5, prefix_horizon=0, backend=backend
    )
    calls: list = []
    steps = [(1.0, 0.0, [0.2, 0.3, 0.5]), (0.0, 1.0, [0.2, 0.3, 0.5])]
    noise = torch.tensor([[0.0, 1.0, 1.5]])
    result = search(scripted_root([0.5, 0.3, 0.2], 0.0), scripted_model(steps, calls), config, noise)
    assert [action for _, _, action in calls] == [2, 1]
    assert result.visits.tolist() == [[0, 1, 1]]
    assert result.action.tolist() == [2]
    np.testing.assert_allclose(result.q_values, [[0.0, 0.5, 1.0]], atol=1e-6)
    np.testing.assert_allclose(result.value, [0.5], atol=1e-6)
    weights = np.array([0.5, 0.412622, 32.80438])
    np.testing.assert_allclose(result.policy, [weights / weights.sum()], atol=1e-5)


# Below the root, by hand. One root action considered (0), discount 0.5.
# 1. Root action 0 -> node 1: priors (0.6, 0.4), value 0.
# 2. Node 1, no visits: sigma 0, improved policy = priors: action 0 -> node 2: reward -1, value 0. q = -1.
# 3. Node 1, T = 1: v_mix = (0 + 1 * (0.6 * -1) / 0.6) / 2 = -0.5; completed (-1, -0.5), rescaled (0, 1),
#    sigma (0, 5.1): improved = (0.6, 0.4 * e^5.1 = 65.609) / 66.209 = (0.009, 0.991). Less visits / (1 + T) =
#    (0.5, 0): action 1 -> node 3: reward 1, value 0. q = 1.
# 4. Node 1, T = 2: completed (-1, 1), sigma (0, 5.1): improved (0.009, 0.991) - (1/3, 1/3): action 1 again, on to
#    node 3, which has no visits: its larger prior, action 0.
@pytest.mark.parametrize("backend", BACKENDS)
def test_below_the_root_by_hand(backend):
    config = SearchConfig(
        algorithm="gumbel", num_simulations=4, max_considered_actions=1, discount=0.5, prefix_horizon=0,
        gumbel_scale=0.0, backend=backend,
    )  # fmt: skip
    calls: list = []
    steps = [(0.0, 0.0, [0.6, 0.4]), (-1.0, 0.0, [0.5, 0.5]), (1.0, 0.0, [0.7, 0.3]), (0.0, 0.0, [0.5, 0.5])]
    result = search(scripted_root([0.7, 0.3], 0.0), scripted_model(steps, calls), config)
    assert [(parent, action) for parent, _, action in calls] == [(0, 0), (1, 0), (1, 1), (3, 0)]
    assert result.visits.tolist() == [[4, 0]]
    # Returns at the root: 0, 0.5 * -1, 0.5 * 1, 0.5 * (1 + 0.5 * 0).
    np.testing.assert_allclose(result.value, [(0 - 0.5 + 0.5 + 0.5) / 5], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_below_the_root_go_to_the_lowest_index(backend):
    """One root action considered and equal priors below it: a new node's first choice is action 0."""
    calls: list = []
    config = SearchConfig(
        algorithm="gumbel", num_simulations=2, max_considered_actions=1, gumbel_scale=0.0, prefix_horizon=0,
        backend=backend,
    )  # fmt: skip
    steps = [(0.0, 0.0, [0.25] * 4), (0.0, 0.0, [0.25] * 4)]
    search(scripted_root([0.1, 0.2, 0.6, 0.1], 0.0), scripted_model(steps, calls), config)
    assert [(parent, action) for parent, _, action in calls] == [(0, 2), (1, 0)]


def test_drawn_gumbel_noise_samples_from_the_policy():
    """The argmax of gumbel + logits is a sample of softmax(logits)."""
    batch = 8000
    priors = torch.tensor([0.5, 0.3, 0.15, 0.05])
    root = RootOutput(priors.log().expand(batch, -1).contiguous(), torch.zeros(batch), {})
    step = StepOutput(torch.zeros(batch), torch.zeros(batch), torch.zeros(batch, 4), {})
    config = SearchConfig(algorithm="gumbel", num_simulations=1, prefix_horizon=0)
    result = search(root, lambda state, action: step, config, generator=torch.Generator().manual_seed(0))
    counts = Counter(result.action.tolist())
    chi_square = sum((counts[a] - batch * p) ** 2 / (batch * p) for a, p in enumerate(priors.tolist()))
    assert chi_square < 16.27  # 0.999 quantile at 3 degrees of freedom
