"""The tree's kernels one by one: a backup by hand, tables, and choices among equals."""

import math

import numba
import numpy as np
import pytest
import torch

from kernels.expand_backup import bind_expand_backup
from kernels.fast_exp import exp_of_negative
from kernels.puct_select import PuctRule, bind_puct_select, exploration_table
from kernels.tie_break import absorb, pick
from kernels.tree import NO_CHILD, ordered_sum, plant
from tests.kernels.backends import TREE_BACKENDS as BACKENDS


def put_leaf(tree, simulation, parents, actions, resets):
    tree.parent[:, simulation + 1] = torch.tensor(parents, dtype=torch.int32)
    tree.parent_action[:, simulation + 1] = torch.tensor(actions, dtype=torch.int32)
    tree.reset.copy_(torch.tensor(resets))


# Two roots, two actions, discount 0.5, a chain 0 -> 1 -> 2 in each by actions (0, 1) and (1, 0). Node 1 of the second
# root resets its prefix. Simulation 0: prefix 1, value 2. Simulation 1: prefix 3, value 4.
#   Edge to node 1: reward 1, W = 2, q = 1 + 0.5 * 2 = 2, root total 0 + 2.
#   Edge to node 2, first root: reward 3 - 1 = 2, W = 4, q = 2 + 2 = 4, G = 4. Then W = 6, N = 2, q = 1 + 1.5 = 2.5,
#   G = 1 + 2 = 3, root total 5.
#   Second root: reward 3, q = 3 + 2 = 5, G = 5. Then W = 7, q = 1 + 1.75 = 2.75, G = 1 + 2.5 = 3.5, root total 5.5.
@pytest.mark.parametrize("backend", BACKENDS)
def test_expand_backup_by_hand(backend):
    tree = plant(torch.full((2, 2), 0.5), torch.zeros(2), num_simulations=2)
    expand_backup = bind_expand_backup(tree, discount=0.5, has_prefix=True, backend=backend)
    logits = torch.tensor([[0.8, 0.2], [0.3, 0.7]]).log()
    put_leaf(tree, 0, [0, 0], [0, 1], [False, True])
    expand_backup(0, torch.full((2,), 1.0), torch.full((2,), 2.0), logits)
    np.testing.assert_allclose(tree.value_total, [2.0, 2.0])
    put_leaf(tree, 1, [1, 1], [1, 0], [False, False])
    expand_backup(1, torch.full((2,), 3.0), torch.full((2,), 4.0), logits)

    np.testing.assert_allclose(tree.value_total, [5.0, 5.5])
    np.testing.assert_allclose(tree.q_min, [2.0, 2.0])
    np.testing.assert_allclose(tree.q_max, [4.0, 5.0])
    assert tree.child.tolist() == [
        [[1, NO_CHILD], [NO_CHILD, 2], [NO_CHILD, NO_CHILD]],
        [[NO_CHILD, 1], [2, NO_CHILD], [NO_CHILD, NO_CHILD]],
    ]
    assert tree.visits.tolist() == [[[2, 0], [0, 1], [0, 0]], [[0, 2], [1, 0], [0, 0]]]
    np.testing.assert_allclose(tree.q, [[[2.5, 0], [0, 4], [0, 0]], [[0, 2.75], [5, 0], [0, 0]]])
    has_child = tree.child != NO_CHILD
    np.testing.assert_allclose(tree.reward[has_child], [1, 2, 1, 3])
    np.testing.assert_allclose(tree.value_sum[has_child], [6, 4, 7, 4])
    np.testing.assert_allclose(tree.prefix, [[0, 1, 3], [0, 0, 3]])
    np.testing.assert_allclose(tree.value, [[0, 2, 4]] * 2)
    np.testing.assert_allclose(tree.prior[:, 1], [[0.8, 0.2], [0.3, 0.7]], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_plain_rewards_have_no_prefix(backend):
    tree = plant(torch.full((1, 2), 0.5), torch.zeros(1), num_simulations=2)
    expand_backup = bind_expand_backup(tree, discount=1.0, has_prefix=False, backend=backend)
    for simulation in range(2):
        put_leaf(tree, simulation, [simulation], [0], [False])
        expand_backup(simulation, torch.full((1,), 3.0), torch.zeros(1), torch.zeros(1, 2))
    assert tree.reward[0, :2, 0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_select_names_the_leaf(backend):
    """The row of the parent's latent, the leaf's action and whether its depth is a multiple of the horizon."""
    batch = 3
    tree = plant(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), torch.zeros(batch), num_simulations=2)
    rule = PuctRule(torch.tensor([1.0, 0.0]), value_delta_max=0.01, prefix_horizon=2, tie_seed=None)
    select = bind_puct_select(tree, rule, backend=backend)
    expand_backup = bind_expand_backup(tree, discount=1.0, has_prefix=True, backend=backend)
    select(0)
    assert tree.action[0].tolist() == [0, 1, 0]
    assert tree.parent_row.tolist() == [0, 1, 2]
    assert not tree.reset.any()
    expand_backup(0, torch.zeros(batch), torch.ones(batch), torch.zeros(batch, 2))
    select(1)  # no exploration, equal values: action 0, which only the middle root has not tried yet
    assert tree.action[1].tolist() == [0, 0, 0]
    assert tree.parent[:, 2].tolist() == [1, 0, 1]
    assert tree.parent_row.tolist() == [1 * batch + 0, 1, 1 * batch + 2]
    assert tree.reset.tolist() == [True, False, True]


@pytest.mark.parametrize("prior_first", [True, False])
def test_exploration_table(prior_first):
    table = exploration_table(50, base=19652.0, init=1.25, prior_first=prior_first)
    for visits in (0, 1, 7, 49):
        factor = math.log((visits + 19652 + 1) / 19652) + 1.25
        assert table[visits] == pytest.approx(factor * math.sqrt(visits + prior_first), rel=1e-6)
    assert (table[0] == 0) == (not prior_first)


def test_picks_are_the_same_in_torch_and_python_and_spread():
    root = torch.arange(10_000)
    count = 1 + root % 7
    picks = pick(0xDEADBEEF, root, 3, 2, count)
    assert (picks >= 0).all() and (picks < count).all()
    for i in (0, 5, 4321, 9999):
        assert picks[i] == absorb(absorb(absorb(0xDEADBEEF, i), 3), 2) * int(count[i]) >> 32
    sevens = picks[count == 7]
    assert (torch.bincount(sevens, minlength=7) / len(sevens) - 1 / 7).abs().max() < 0.04
    others = pick(0xDEADBEEF, root, 4, 2, count), pick(0xDEADBEEF, root, 3, 1, count), pick(1, root, 3, 2, count)
    for other in others:
        assert ((other == picks) & (count == 7)).sum() < 0.2 * len(sevens)


def test_ordered_sum_adds_from_the_left():
    """2^24 + 1 is 2^24 in float32: only from the left does the 1 get lost twice."""
    row = torch.tensor([[2.0**24, 1.0, 1.0, -(2.0**24)]])
    assert ordered_sum(row).tolist() == [0.0]


def test_exp_of_negative():
    @numba.njit
    def exp(x):
        out = np.empty_like(x)
        for i in range(x.size):
            out[i] = exp_of_negative(x[i])
        return out

    x = np.concatenate([-np.linspace(0, 87, 20_001), -np.linspace(0, 1, 20_001)]).astype(np.float32)
    np.testing.assert_allclose(exp(x), np.exp(x.astype(np.float64)), rtol=1.5e-7)
    below = exp(np.array([-90.0, -1e30, -np.inf], np.float32))
    assert ((below >= 0) & (below < 2e-38)).all()
