"""Whole searches by Triton's kernels, against the oracle and numba, and how the kernels are launched."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.tie_break import absorb
from speedyzero.search import RootOutput, SearchConfig, SearchResult, StepOutput, search
from tests.search.models import TableModel, dirichlet, gumbel, root_states
from tests.search.oracle import Oracle
from tests.search.test_against_oracle import assert_same

SEED = 9
LAUNCHES = {
    "puct": ("kernels.puct_select.triton_gpu", "_puct_select"),
    "gumbel": ("kernels.gumbel_select.triton_gpu", "_gumbel_select"),
    "expand": ("kernels.expand_backup.triton_gpu", "_expand_backup"),
}


class Recorder:
    """A kernel that notes how it is launched: the grid and all arguments."""

    def __init__(self, kernel):
        self._kernel = kernel
        self.launches: list[tuple[tuple, tuple, dict]] = []

    def __getitem__(self, grid):
        def launch(*args, **kwargs):
            self.launches.append((grid, args, kwargs))
            return self._kernel[grid](*args, **kwargs)

        return launch


@pytest.fixture
def recorders(monkeypatch) -> dict[str, Recorder]:
    """Every kernel of the search, recorded."""
    found = {}
    for name, (module, kernel) in LAUNCHES.items():
        found[name] = Recorder(getattr(importlib.import_module(module), kernel))
        monkeypatch.setattr(f"{module}.{kernel}", found[name])
    return found


def search_on(device, model: TableModel, states, config: SearchConfig, noise) -> SearchResult:
    """The result on the CPU of a search on `device`; the model looks its tables up on the CPU."""

    def to(tensor):
        return tensor.to(device)

    def recurrent(state, action):
        step = model.recurrent({key: x.cpu() for key, x in state.items()}, action.cpu())
        state = {key: to(x) for key, x in step.state.items()}
        return StepOutput(to(step.reward), to(step.value), to(step.policy_logits), state)

    root = model.root(states)
    root = RootOutput(to(root.policy_logits), to(root.value), {key: to(x) for key, x in root.state.items()})
    result = search(root, recurrent, config, to(torch.from_numpy(noise)), torch.Generator().manual_seed(SEED))
    return SearchResult(**{name: x.cpu() for name, x in vars(result).items()})


@pytest.mark.parametrize("settings, batch, actions", [
    (dict(prefix_horizon=3), 4, 6),
    (dict(prefix_horizon=0), 2, 2),
    (dict(prefix_horizon=3, first_pick="uniform"), 3, 3),
    (dict(prefix_horizon=3, algorithm="gumbel"), 3, 3),
    (dict(prefix_horizon=0, algorithm="gumbel", max_considered_actions=4), 1, 18),
])  # fmt: skip
def test_agrees_with_the_oracle_and_with_numba(device, recorders, settings, batch, actions):
    simulations = 12
    config = SearchConfig(num_simulations=simulations, backend="triton", **settings)
    model = TableModel.random(batch + actions, actions, has_prefix=config.prefix_horizon > 0)
    states = root_states(3, batch)
    noise = (dirichlet if config.algorithm == "puct" else gumbel)(4, batch, actions)
    result = search_on(device, model, states, config, noise)
    counts = {name: len(recorder.launches) for name, recorder in recorders.items()}
    assert counts == {"puct": 0, "gumbel": 0, "expand": simulations} | {config.algorithm: simulations}

    tie_seed = int(torch.randint(2**32, (), generator=torch.Generator().manual_seed(SEED)))

    def pick_tie_of(row):
        return lambda simulation, depth, count: absorb(absorb(absorb(tie_seed, row), simulation), depth) * count >> 32

    pick = pick_tie_of if config.first_pick == "uniform" else lambda row: None
    want = [Oracle(model, config, noise[row]).run(int(states[row]), pick(row)) for row in range(batch)]
    assert_same(result, want, case=settings)
    numba = search_on("cpu", model, states, dataclasses.replace(config, backend="numba"), noise)
    assert torch.equal(result.visits, numba.visits)
    assert torch.equal(result.action, numba.action)
    for name in ("policy", "value", "q_values"):
        torch.testing.assert_close(getattr(result, name), getattr(numba, name), atol=1e-5, rtol=0)


@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_one_compilation_serves_every_simulation(device, recorders, algorithm):
    """What Triton compiles anew for: types, pointers aligned to 16 bytes or not, integers by their value, constants."""
    simulations = 18  # both 1 and 16 would be compiled on their own
    config = SearchConfig(num_simulations=simulations, algorithm=algorithm, backend="triton", first_pick="uniform")
    model = TableModel.random(0, 2, has_prefix=True)
    search_on(device, model, [5], config, np.full((1, 2), 0.5, np.float32))
    for name in (algorithm, "expand"):
        launches = recorders[name].launches
        assert [int(args[0][0]) for _, args, _ in launches] == list(range(simulations))
        assert len({specialisation(*launch) for launch in launches}) == 1
        for _, _, kwargs in launches:
            assert kwargs["num_warps"] == 1 and kwargs["enable_fp_fusion"] is False


def specialisation(grid, args, kwargs) -> tuple:
    of_args = tuple((x.dtype, x.data_ptr() % 16 == 0) if isinstance(x, torch.Tensor) else x for x in args)
    return grid, of_args, tuple(sorted(kwargs.items()))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("settings", [dict(), dict(first_pick="uniform"), dict(algorithm="gumbel")])
def test_a_network_gone_wrong_does_not_lead_a_walk_out_of_its_tree(device, settings):
    """Comparisons with NaN are all false, so the largest score could be that of a lane without an action."""
    batch, actions, simulations = 1, 3, 3
    good = TableModel.random(1, actions, has_prefix=True)
    bad = TableModel(*(np.full_like(x, np.nan) for x in (good.reward, good.value, good.logits)), has_prefix=True)
    config = SearchConfig(num_simulations=simulations, backend="triton", **settings)
    noise = np.full((batch, actions), 0.5, np.float32)
    result = search_on(device, bad, root_states(1, batch), config, noise)
    assert result.visits.sum(-1).tolist() == [simulations] * batch


def test_a_search_on_the_cpu_does_not_import_triton():
    """It takes a while, and every process of a run without a GPU would."""
    program = """
import sys, torch
from speedyzero.search import RootOutput, SearchConfig, StepOutput, search
for algorithm in ("puct", "gumbel"):
    root = RootOutput(torch.zeros(1, 2), torch.zeros(1), {})
    step = StepOutput(torch.zeros(1), torch.zeros(1), torch.zeros(1, 2), {})
    search(root, lambda state, action: step, SearchConfig(num_simulations=1, algorithm=algorithm))
assert "triton" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).resolve().parents[2], check=True)
