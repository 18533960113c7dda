"""How Triton's kernels are launched in whole searches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.fused_tree import triton_gpu
from speedyzero.search import SearchConfig, SearchResult, search
from tests.search.models import TableModel, root_states

SEED = 9
KERNELS = {"puct": "_expand_then_puct_select", "gumbel": "_expand_then_gumbel_select"}


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


def search_on(device, model: TableModel, states, config: SearchConfig, noise) -> SearchResult:
    model, noise = model.on(device), torch.from_numpy(noise).to(device)
    return search(model.root(states), model.recurrent, config, noise, torch.Generator().manual_seed(SEED))


@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_one_compilation_serves_every_simulation(monkeypatch, device, algorithm):
    """What Triton compiles anew for: types, pointers aligned to 16 bytes or not, integers by their value, constants."""
    recorder = Recorder(getattr(triton_gpu, KERNELS[algorithm]))
    monkeypatch.setattr(triton_gpu, KERNELS[algorithm], recorder)
    simulations = 18  # both 1 and 16 would be compiled on their own
    config = SearchConfig(num_simulations=simulations, algorithm=algorithm, backend="triton", first_pick="uniform")
    model = TableModel.random(0, 2, has_prefix=True)
    search_on(device, model, [5], config, np.full((1, 2), 0.5, np.float32))
    assert [int(args[0][0]) for _, args, _ in recorder.launches] == list(range(simulations - 1))
    assert len({specialisation(*launch) for launch in recorder.launches}) == 1
    for _, _, kwargs in recorder.launches:
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
