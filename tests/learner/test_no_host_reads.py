"""From a batch record to an update under way, as on a GPU, nothing makes the host wait for a number of the device's.

On the CPU, with the device's own path: frames from a mirror, draws by the kernel's definition, an update that is only
started. The fake capture raises where a graph could not be recorded, which is where the host would have waited.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch

from kernels.capture import CaptureError, Graphed
from kernels.stack_gather import stack_gather
from speedyzero.config import LearnerConfig
from speedyzero.learner import batch as batch_module
from speedyzero.learner import learner as learner_module
from speedyzero.learner.augment import Augment
from speedyzero.replay import device_mirror
from speedyzero.replay.device_mirror import DeviceMirror
from tests.learner.small_learner import BATCH, SmallLearner, small_batch, small_learner
from tests.model.networks import IMAGE_SPEC

AUGMENTED = LearnerConfig(batch_size=BATCH, shift_px=2, intensity_scale=0.05)


@pytest.fixture
def small(monkeypatch) -> SmallLearner:
    """A learner that has made one update, so that what is made once is there."""
    # Torch's form, whose calls the fake capture sees.
    monkeypatch.setattr(device_mirror, "stack_gather", partial(stack_gather, backend="reference"))
    monkeypatch.setattr(
        learner_module,
        "frame_sources",
        lambda config, shards, device, **how: [DeviceMirror(shard, device, **how) for shard in shards],
    )
    monkeypatch.setattr(
        Augment,
        "draw",
        lambda self, batch, *, train_step, view, device: self._draw_there(batch, train_step, view, device),
    )
    small = small_learner(IMAGE_SPEC, deferred=True, learner=AUGMENTED)
    small.learner.train_on(small_batch(), 0)
    return small


def start_an_update(small: SmallLearner):
    return small.learner._launch([small_batch(seed=1)], 1, largest_weight=1.0)


def test_starting_an_update_reads_nothing_from_the_device(small):
    under_way = Graphed(lambda: start_an_update(small), device="cpu", warmups=0, capture_mode="fake")()
    assert under_way.launched.result().is_finite


def test_one_number_read_on_the_way_is_found_out(monkeypatch, small):
    original = batch_module._joined

    def reading(tensors):
        assert tensors[0].sum().item() >= 0
        return original(tensors)

    monkeypatch.setattr(batch_module, "_joined", reading)
    with pytest.raises(CaptureError, match="reads a number from the device"):
        Graphed(lambda: start_an_update(small), device="cpu", warmups=0, capture_mode="fake")()


def test_settling_it_is_where_the_host_reads(small):
    """One copy of figures, flag and root values together."""
    under_way = start_an_update(small)
    update = under_way.launched.result()
    assert update.is_finite and update.loss.root_value.shape == (BATCH,) and not update.loss.root_value.is_cuda
    assert torch.isfinite(update.loss.figures).all()
