"""The learner's network with its norms in Triton's form: the same update, and nothing of a bad one."""

from __future__ import annotations

import pytest
import torch

from speedyzero.learner.batch import Batch
from speedyzero.learner.trainer import Trainer
from speedyzero.model.blocks import fuse_norms
from tests.kernels.backends import watch
from tests.learner.test_trainer import config_with, equal, everything, random_batch, spoiled, trainer_of
from tests.model.networks import IMAGE_SPEC

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="a learner on the CPU; on a GPU benchmarks/gpu/learner_check.py does it"
)


def trainer_with(*, fused: bool) -> Trainer:
    trainer = trainer_of(IMAGE_SPEC, config_with("sgd"), deferred=True)
    if fused:  # not all of them: a second of the interpreter each
        fuse_norms(trainer.network.representation.stem_block, backend="triton")
        fuse_norms(trainer.network.value_head, backend="triton")
    return trainer


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return [random_batch(IMAGE_SPEC, seed) for seed in range(3)]


def test_an_update_is_the_same_and_a_bad_batch_is_undone_to_the_bit(monkeypatch, batches):
    """Weights, momentum, running statistics and their counters."""
    plain, fused = trainer_with(fused=False), trainer_with(fused=True)
    seen = watch(monkeypatch, "kernels.norm_act", reference="norm_act", kernel="gradient_kernel")
    losses = [trainer.update(batches[1], 4).loss.total for trainer in (plain, fused)]
    assert set(seen) == {"triton"}
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(everything(fused), everything(plain), rtol=1e-3, atol=1e-4)
    before = everything(fused)
    update = fused.update(spoiled(batches[2]), 5)
    assert not update.is_finite and equal(everything(fused), before)
