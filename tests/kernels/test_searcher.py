"""Searches in one launch, in each of the three ways, against numba; padded roots; and captures."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from speedyzero.search import RootOutput, SearchConfig, Searcher, SearchResult, StateStep, StepOutput, search
from speedyzero.search.searcher import padded_batch
from tests.kernels.conftest import HAS_GPU
from tests.kernels.noted_launches import note_launches
from tests.refusal import refusal
from tests.search.models import TableModel, assert_same_search, dirichlet, gumbel, root_states

ACTIONS = 3


def config_with(**settings) -> SearchConfig:
    return SearchConfig(**{"num_simulations": 5, "prefix_horizon": 2, "backend": "triton", **settings})


class Case:
    """A table model on both devices, and roots and noise by a seed."""

    def __init__(self, config: SearchConfig, device: torch.device):
        self.config, self.device = config, device
        self.table = TableModel.random(1, ACTIONS, has_prefix=config.prefix_horizon > 0)
        self.on_device = self.table.on(device)

    def root(self, seed: int, batch: int) -> RootOutput:
        return self.on_device.root(root_states(seed, batch))

    def noise(self, seed: int, batch: int) -> torch.Tensor:
        sample = (dirichlet if self.config.algorithm == "puct" else gumbel)(seed, batch, ACTIONS)
        return torch.from_numpy(sample).to(self.device)

    def search(self, searcher: Searcher, seed: int, batch: int) -> SearchResult:
        return searcher.search(self.root(seed, batch), self.config, self.noise(seed, batch), generator(seed))

    def expected(self, seed: int, batch: int) -> SearchResult:
        config, noise = dataclasses.replace(self.config, backend="numba"), self.noise(seed, batch).cpu()
        root = self.table.root(root_states(seed, batch))
        return search(root, self.table.recurrent, config, noise, generator(seed))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PUCT, TIES = dict(), dict(first_pick="uniform", prefix_horizon=0)
GUMBEL = dict(algorithm="gumbel", max_considered_actions=2)


@pytest.mark.parametrize(
    ("launch", "settings"),
    [("eager", PUCT), ("simulation", TIES), ("simulation", GUMBEL), ("whole", PUCT), ("whole", GUMBEL)],
)
def test_every_launch_agrees_with_numba(monkeypatch, device, launch, settings):
    """Each search from its own roots, noise and ties, and no result is written over by the searches after it."""
    case = Case(config_with(**settings), device)
    searcher = Searcher(StateStep(case.on_device.recurrent), launch=launch, pad=lambda batch: 3)
    kernels = [] if HAS_GPU else note_launches(monkeypatch)
    found = [case.search(searcher, seed, batch) for seed, batch in ((3, 3), (4, 2))]
    for (seed, batch), result in zip(((3, 3), (4, 2)), found, strict=True):
        assert_same_search(result, case.expected(seed, batch))
        assert not any(tensor.is_inference() for tensor in vars(result).values())
    assert len(searcher.kept) == 1
    if not HAS_GPU:
        rule = case.config.algorithm
        once = [f"_{rule}_select", *[f"_expand_then_{rule}_select"] * 4, "_expand_backup"]
        once += ["_root_sigma"] if rule == "gumbel" else []
        assert kernels == 2 * once


def test_noise_is_drawn_before_the_launch(device):
    """From the generator, as the function does."""
    case = Case(config_with(num_simulations=3), device)
    searcher = Searcher(StateStep(case.on_device.recurrent), pad=int)
    for seed in (1, 2):
        found = searcher.search(case.root(seed, 2), case.config, generator=generator(seed))
        config = dataclasses.replace(case.config, backend="numba")
        root = case.table.root(root_states(seed, 2))
        assert_same_search(found, search(root, case.table.recurrent, config, generator=generator(seed)))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_padded_roots_are_zeros_whatever_was_there(device, algorithm):
    """After a batch of what is not a number: no NaN stays behind, in no buffer and in no tree."""
    case = Case(config_with(algorithm=algorithm, num_simulations=3), device)
    searcher = Searcher(StateStep(case.on_device.recurrent), pad=lambda batch: 3)
    root, noise = case.root(1, 3), case.noise(1, 3)
    bad = RootOutput(torch.full_like(root.policy_logits, torch.nan), torch.full_like(root.value, torch.nan), root.state)
    searcher.search(bad, case.config, torch.full_like(noise, torch.nan))
    found = case.search(searcher, 2, 1)
    assert_same_search(found, case.expected(2, 1))
    (static,) = searcher.kept
    tree = static.algorithm.tree
    assert tree.q[:, 0].isfinite().all() and tree.value_total.isfinite().all() and tree.prior[:, 0].isfinite().all()


def test_batches_are_padded_to_few_sizes():
    sizes = {padded_batch(batch) for batch in range(1, 4097)}
    assert sorted(sizes) == [16, 32, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096]
    assert all(padded_batch(size) == size for size in sizes)
    for batch in range(257, 4097):
        assert batch <= padded_batch(batch) <= 1.5 * batch


def test_memory_is_kept_for_each_size_configuration_and_kind_of_state(device):
    case = Case(config_with(num_simulations=1), device)
    searcher = Searcher(StateStep(case.on_device.recurrent), pad=lambda batch: 2 * batch)
    for batch, kept in ((1, 1), (1, 1), (2, 2)):
        case.search(searcher, 1, batch)
        assert len(searcher.kept) == kept
    searcher.search(case.root(1, 1), dataclasses.replace(case.config, root_noise_fraction=0.0))
    assert len(searcher.kept) == 3


def test_refused(device):
    case = Case(config_with(), device)
    model, root = StateStep(case.on_device.recurrent), case.root(1, 1)
    assert "launch=graph" in refusal(Searcher, model, launch="graph")
    plain = dataclasses.replace(case.config, backend="reference")
    assert "search.backend=reference" in refusal(Searcher(model).search, root, plain)
    assert "noise: [2, 3]" in refusal(Searcher(model).search, root, case.config, case.noise(1, 2))
    short = StateStep(lambda state, action: StepOutput(torch.zeros(1), torch.zeros(1), torch.zeros(1, 2), state))
    assert "[16]" in refusal(Searcher(short, pad=padded_batch).search, root, case.config, case.noise(1, 1))
