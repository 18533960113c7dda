"""From a batch record to an update under way, as on a GPU, nothing makes the host wait for a number of the device's.

On the CPU, with the device's own path: frames from a mirror, draws by the kernel's definition, an update that is only
started. The fake capture raises where a graph could not be recorded, which is where the host would have waited.
"""

from functools import partial

import pytest
import torch

from kernels.stack_gather import stack_gather
from speedyzero.config import LearnerConfig
from speedyzero.learner import learner as learner_module
from speedyzero.replay import device_mirror
from speedyzero.replay.device_mirror import DeviceMirror
from tests.kernels.fake_capture import FakeGraphed
from tests.learner.small_learner import BATCH, SmallLearner, draw_there, small_batch, small_learner
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
    draw_there(monkeypatch)
    small = small_learner(IMAGE_SPEC, deferred=True, learner=AUGMENTED)
    small.learner.train_on(small_batch(), 0)
    return small


def test_starting_an_update_reads_nothing_from_the_device(small):
    def start():
        return small.learner._launch([small_batch(seed=1)], 1, largest_weight=1.0)

    under_way = FakeGraphed(start, warmups=0)()
    update = under_way.launched.result()  # where the host reads
    assert update.is_finite and update.loss.root_value.shape == (BATCH,) and torch.isfinite(update.loss.figures).all()
