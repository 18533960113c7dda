"""Every backend against the slow search of `oracle.py`: exact visits, values within 1e-5."""

import numpy as np
import pytest
import torch

from kernels.tie_break import absorb
from speedyzero.search import SearchConfig, search
from tests.kernels.backends import TREE_BACKENDS as BACKENDS
from tests.refusal import refusal
from tests.search.models import TableModel, dirichlet, gumbel, root_states
from tests.search.oracle import Oracle

BATCHES = (1, 3, 7)


def assert_same(result, oracle_results, *, case):
    for row, want in enumerate(oracle_results):
        assert result.visits[row].tolist() == want.visits, (case, row)
        assert result.action[row].item() == want.action, (case, row)
        np.testing.assert_allclose(result.value[row], want.value, atol=1e-5, err_msg=str((case, row)))
        np.testing.assert_allclose(result.q_values[row], want.q_values, atol=1e-5, err_msg=str((case, row)))
        np.testing.assert_allclose(result.policy[row], want.policy, atol=1e-5, err_msg=str((case, row)))


def compare(config: SearchConfig, num_actions: int, make_noise, pick_tie_of_row=None):
    """Search the largest batch with the oracle; every smaller batch is a part of it."""
    case = (config.algorithm, num_actions, config.num_simulations, config.prefix_horizon)
    model = TableModel.random(sum(case[1:]), num_actions, has_prefix=config.prefix_horizon > 0)
    states = root_states(3, max(BATCHES))
    noise = make_noise(4, max(BATCHES), num_actions)
    pick = pick_tie_of_row or (lambda row: None)
    want = [Oracle(model, config, noise[row]).run(int(states[row]), pick(row)) for row in range(max(BATCHES))]
    for backend in BACKENDS:
        config_here = SearchConfig(**{**vars(config), "backend": backend})
        for batch in BATCHES:
            result = search(
                model.root(states[:batch]),
                model.recurrent,
                config_here,
                torch.from_numpy(noise[:batch]),
                torch.Generator().manual_seed(9),
            )
            assert_same(result, want[:batch], case=(backend, batch, *case))
    return want


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("simulations", [1, 16, 50])
@pytest.mark.parametrize("num_actions", [2, 6, 18])
@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_matches_oracle(algorithm, num_actions, simulations, horizon):
    config = SearchConfig(num_simulations=simulations, algorithm=algorithm, prefix_horizon=horizon)
    want = compare(config, num_actions, dirichlet if algorithm == "puct" else gumbel)
    if (num_actions, simulations, horizon) == (2, 50, 3):
        assert max(result.depth for result in want) > 6, "without deep trees the reset rules would go untested"


@pytest.mark.parametrize("simulations", [1, 16, 50])
@pytest.mark.parametrize("num_actions", [2, 6])
def test_uniform_first_pick_matches_oracle(num_actions, simulations):
    """The draws are named by (seed, row, simulation, depth); the seed is the generator's next integer."""
    seed = int(torch.randint(2**32, (), generator=torch.Generator().manual_seed(9)))

    def pick_tie_of_row(row):
        return lambda simulation, depth, count: absorb(absorb(absorb(seed, row), simulation), depth) * count >> 32

    config = SearchConfig(num_simulations=simulations, first_pick="uniform", prefix_horizon=3)
    compare(config, num_actions, dirichlet, pick_tie_of_row)


@pytest.mark.parametrize("horizon", [0, 3, 5])
@pytest.mark.parametrize("num_actions", [2, 6])
def test_the_reference_s_range_matches_oracle(num_actions, horizon, monkeypatch):
    """On the CPU alone. With plain rewards it is right but for what it forgets; with prefixes it is another range."""
    monkeypatch.setattr(f"{__name__}.BACKENDS", [backend for backend in BACKENDS if backend != "triton"])
    config = SearchConfig(num_simulations=50, prefix_horizon=horizon, min_max="depth_first")
    want = compare(config, num_actions, dirichlet)
    exact = compare(SearchConfig(num_simulations=50, prefix_horizon=horizon), num_actions, dirichlet)
    assert horizon == 0 or [one.visits for one in want] != [one.visits for one in exact]


def test_the_reference_s_range_is_refused_where_it_is_not_computed(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    model, states = TableModel.random(0, 3, has_prefix=True), root_states(3, 1)
    for changes in (dict(algorithm="gumbel"), dict(backend="triton")):
        config = SearchConfig(min_max="depth_first", **changes)
        assert "min_max" in refusal(search, model.root(states), model.recurrent, config)


@pytest.mark.parametrize("settings", [
    dict(root_noise_fraction=0.0),
    dict(root_noise_fraction=1.0),
    dict(discount=1.0, pb_c_init=0.5, pb_c_base=10.0),
    dict(value_delta_max=5.0),
    dict(algorithm="gumbel", gumbel_scale=0.0),
    dict(algorithm="gumbel", gumbel_scale=3.0, max_considered_actions=3),
    dict(algorithm="gumbel", c_visit=5.0, c_scale=1.0, max_considered_actions=1),
    dict(algorithm="gumbel", min_q_range=0.5),
])  # fmt: skip
def test_every_setting_reaches_the_search(settings):
    config = SearchConfig(**{"num_simulations": 24, "prefix_horizon": 3, **settings})
    compare(config, 5, dirichlet if config.algorithm == "puct" else gumbel)
