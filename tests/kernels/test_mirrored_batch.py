"""A learner's batch with its kernels in Triton's form, beside the batch from the host."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from kernels.stack_gather import augment_draws, stack_gather
from speedyzero.learner import augment
from speedyzero.learner.augment import Augment
from speedyzero.learner.batch import BatchReader
from speedyzero.replay import device_mirror
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.frames import HostFrames
from tests.kernels.backends import watch
from tests.learner.small_learner import UNROLL, small_config
from tests.learner.test_batch import AUGMENTED, noisy_shard, parts_of


def test_one_launch_for_the_roots_and_one_for_each_state_after_them(monkeypatch, device):
    config, shard, part = small_config(learner=AUGMENTED), noisy_shard(0), parts_of(1)
    weight = np.ones(len(part[0].lane), np.float32)
    cpu = torch.device("cpu")
    host = BatchReader(config, [HostFrames(shard, cpu)], device=cpu, rank=1).read(part, weight=weight, train_step=5)

    monkeypatch.setattr(device_mirror, "stack_gather", partial(stack_gather, backend="triton"))
    monkeypatch.setattr(augment, "augment_draws", partial(augment_draws, backend="triton"))
    monkeypatch.setattr(
        Augment,
        "draw",
        lambda self, batch, *, train_step, view, device: self._draw_there(batch, train_step, view, device),
    )
    gathers = watch(monkeypatch, "kernels.stack_gather", reference="stack_gather", kernel="stack_gather_kernel")
    draws = watch(monkeypatch, "kernels.stack_gather", reference="augment_draws", kernel="augment_draws_kernel")
    reader = BatchReader(config, [DeviceMirror(shard, device)], device=device, rank=1)
    mirrored = reader.read(part, weight=weight, train_step=5)
    assert gathers == ["triton"] * (1 + UNROLL) and draws == ["triton"] * 2
    for one, other in zip((host.root, *host.following), (mirrored.root, *mirrored.following), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-6, atol=0)
