"""NaN and infinity, wherever they come from, reach neither published weights nor a checkpoint. Contract row 18."""

import itertools
import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.env.registry import check_game
from speedyzero.learner.learner import MAX_BAD_BATCHES
from speedyzero.learner.saving import checkpoint_meta, save_to_score
from speedyzero.topology.records import BatchRecord
from tests.faults.ring_contract import reached, share
from tests.learner.small_learner import SmallLearner, small_batch, small_learner, snapshot
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC

NUMBERS = (math.nan, math.inf, -math.inf)
TARGETS = ("value_target", "prefix_target", "policy_target", "probability")
KINDS = (*TARGETS, "gradient", "activation", "frame")


@contextmanager
def injection(small: SmallLearner, kind: str, rng: random.Random) -> Iterator[Callable[[BatchRecord], BatchRecord]]:
    """While it lasts, every batch that goes through what is yielded comes to no finite update."""
    number, undo = rng.choice(NUMBERS), []
    if kind == "probability" and math.isinf(number):
        number = 0.0  # an infinite one would only weigh nothing; of this one the weight is infinite
    if kind == "gradient":
        parameter = rng.choice([one for one in small.network.parameters() if one.requires_grad])
        undo.append(parameter.register_hook(lambda gradient: gradient * number).remove)
    elif kind == "activation":
        layer = rng.choice(
            [one for one in small.network.modules() if isinstance(one, torch.nn.Linear | torch.nn.Conv2d)]
        )
        undo.append(layer.register_forward_hook(lambda layer, inputs, output: output * math.nan).remove)
    elif kind == "frame":
        kept = small.shard.frame.copy()
        small.shard.frame[...] = number
        undo.append(lambda: small.shard.frame.__setitem__(..., kept))

    def spoil(batch: BatchRecord) -> BatchRecord:
        if kind not in TARGETS:
            return batch
        array = getattr(batch, kind).copy()
        array.reshape(-1)[0] = number  # of the first sample's root: always counted
        return replace(batch, **{kind: array})

    try:
        yield spoil
    finally:
        for step in undo:
            step()


def take_step(small: SmallLearner, batch: BatchRecord, *, bad: bool = False) -> None:
    """A bad batch is counted and sends no priorities."""
    small.edges.batches.put(batch)
    assert small.learner.step()
    assert small.edges.priorities.empty == bad
    list(small.edges.priorities.drain())
    counted = [record.value for record in small.edges.metrics.drain() if record.name == "learner/bad_batches"]
    assert bool(counted) == bad


def state_of(small: SmallLearner) -> dict[str, torch.Tensor]:
    """Everything that training changes: parameters, buffers, the optimiser's moments."""
    moments = {
        f"{name} {i}": value.clone()
        for i, state in enumerate(small.learner.optimizer.state.values())
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return snapshot(small.network) | moments


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def all_finite(tensors: dict[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


@pytest.mark.contract(18)
@pytest.mark.filterwarnings("ignore:(divide|invalid value):RuntimeWarning")
def test_what_is_not_finite_is_neither_learned_nor_published_nor_saved(tmp_path):
    """A short injection, from which training recovers; then one that lasts, which ends it."""
    game = check_game(resolve("catch", "Catch", 0, 0).env)
    trials = max(len(KINDS), share(20))
    for trial in range(trials):
        rng, kind = random.Random(trial), KINDS[trial % len(KINDS)]
        small = small_learner(VECTOR_SPEC if kind == "frame" else (IMAGE_SPEC, VECTOR_SPEC)[trial // len(KINDS) % 2])
        seeds = itertools.count()
        for _ in range(rng.randrange(1, 6)):
            take_step(small, small_batch(seed=next(seeds)))
        good = state_of(small)
        with injection(small, kind, rng) as spoil:
            for _ in range(rng.randrange(1, MAX_BAD_BATCHES)):
                take_step(small, spoil(small_batch(seed=next(seeds))), bad=True)
                assert same(state_of(small), good), f"{kind}: a bad batch changed something"
        for _ in range(2):
            take_step(small, small_batch(seed=next(seeds)))
        assert not same(state_of(small), good), f"{kind}: training must continue"
        good = state_of(small)
        with injection(small, kind, rng) as spoil:
            for _ in range(MAX_BAD_BATCHES - 1):
                take_step(small, spoil(small_batch(seed=next(seeds))), bad=True)
            with pytest.raises(FloatingPointError, match=f"{MAX_BAD_BATCHES} batches in a row"):
                take_step(small, spoil(small_batch(seed=next(seeds))), bad=True)
        assert same(state_of(small), good) and all_finite(good)
        records = [*small.edges.weights.published, *small.edges.targets.published]
        assert all(bool(torch.isfinite(record.flat).all()) for record in records)
        meta = checkpoint_meta(small.config, game, env_steps=0, step=trial)
        assert save_to_score(tmp_path / f"{trial}", small.learner, meta) is None
        saved = load_weights(newest(tmp_path / f"{trial}")).state
        assert all_finite(saved) and all(torch.equal(saved[name], good[name]) for name in saved)
    reached(18, counts={"injections": trials})
