"""Batches as the learner reads them: from the mirror the same as from the host, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from speedyzero.config import Config, LearnerConfig, TargetConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.learner.augment import Augment
from speedyzero.learner.batch import Batch, BatchReader
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.frames import FrameSource, HostFrames
from speedyzero.replay.shard import Shard
from tests.learner.small_learner import BATCH, LANES, UNROLL, filled_shard, small_batch, small_config
from tests.model.networks import VECTOR_SPEC

CPU = torch.device("cpu")
STACK = 2
SPEC = ObservationSpec(shape=(9, 11, 3), dtype=np.dtype(np.uint8))
AUGMENTED = LearnerConfig(batch_size=BATCH, shift_px=2, intensity_scale=0.05)


def noisy_shard(seed: int) -> Shard:
    """With other pixels everywhere, episodes in other places, and round the lanes' end: heads at 50 of 40 rows."""
    shard, rng = filled_shard(SPEC, stack=STACK), np.random.default_rng(seed)
    shard.frame[:] = rng.integers(256, size=shard.frame.shape)
    shard.first[:] = rng.random(shard.first.shape) < 0.3
    shard.head += 20
    shard.ticks += 20
    return shard


def parts_of(shards: int) -> list:
    rng = np.random.default_rng(3)
    return [
        replace(small_batch(seed=i), lane=rng.integers(LANES, size=BATCH), step=rng.integers(22, 45, size=BATCH))
        for i in range(shards)
    ]


def read(sources: list[FrameSource], *, config: Config | None = None, rank: int = 0, train_step: int = 7) -> Batch:
    reader = BatchReader(config or small_config(learner=AUGMENTED), sources, device=CPU, rank=rank)
    weight = np.arange(BATCH * len(sources), dtype=np.float32)
    return reader.read(parts_of(len(sources)), weight=weight, train_step=train_step)


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize(
    "learner", [AUGMENTED, replace(AUGMENTED, shift_px=0), replace(AUGMENTED, intensity_scale=0.0)]
)
def test_a_batch_from_the_mirror_is_the_batch_from_the_host(shards, learner):
    held, config = [noisy_shard(seed) for seed in range(shards)], small_config(learner=learner)
    host = read([HostFrames(shard, CPU) for shard in held], config=config, rank=1)
    mirrored = read([DeviceMirror(shard, CPU) for shard in held], config=config, rank=1)
    for name, tensor in vars(host).items():
        if name != "following":
            assert torch.equal(getattr(mirrored, name), tensor), name
    assert len(host.following) == len(mirrored.following) == UNROLL
    for one, other in zip(host.following, mirrored.following, strict=True):
        assert torch.equal(one, other)
    assert mirrored.root.shape == (BATCH * shards, STACK * 3, 9, 11)
    assert all(stack.is_contiguous(memory_format=torch.channels_last) for stack in (mirrored.root, *mirrored.following))


@pytest.mark.parametrize("source", [HostFrames, DeviceMirror])
def test_the_views_are_augmented_each_by_itself(source):
    """The root by view 0, all that follows by view 1, samples numbered over the parts and ranks."""
    shards, rank, train_step = [noisy_shard(0), noisy_shard(1)], 3, 11
    batch = read([source(shard, CPU) for shard in shards], rank=rank, train_step=train_step)
    windows = [
        shard.gather_windows(part.lane, part.step, unroll_steps=UNROLL)
        for shard, part in zip(shards, parts_of(2), strict=True)
    ]
    window = torch.from_numpy(np.concatenate(windows))
    augment = Augment(AUGMENTED, seed=small_config().seed, rank=rank)
    assert torch.equal(batch.root, augment(window[:, :STACK], train_step=train_step, view=0))
    for j, stack in enumerate(batch.following, start=1):
        assert torch.equal(stack, augment(window[:, j : j + STACK], train_step=train_step, view=1))
    assert not torch.equal(batch.following[0], augment(window[:, 1 : 1 + STACK], train_step=train_step, view=0))


def test_targets_are_joined_in_the_parts_order():
    batch, parts = read([HostFrames(noisy_shard(0), CPU)] * 2), parts_of(2)
    fields = {"action": "action", "action_mask": "action_mask", "value": "value_target"}
    for name, field in {**fields, "prefix": "prefix_target", "policy": "policy_target"}.items():
        expected = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(getattr(batch, name).numpy(), expected)
    assert batch.weight.tolist() == list(range(2 * BATCH))


@pytest.mark.parametrize("source", [HostFrames, DeviceMirror])
@pytest.mark.parametrize(
    "stages",
    [
        {"learner": replace(AUGMENTED, consistency_coefficient=0.0)},
        {"learner": AUGMENTED, "target": TargetConfig(unroll_steps=0, td_steps=2)},
    ],
)
def test_what_nothing_reads_is_not_gathered(source, stages):
    assert read([source(noisy_shard(0), CPU)], config=small_config(**stages)).following == ()


def test_vectors_pass_as_they_are():
    shard, part = filled_shard(VECTOR_SPEC, stack=STACK), small_batch()
    reader = BatchReader(small_config(learner=AUGMENTED), [HostFrames(shard, CPU)], device=CPU, rank=0)
    batch = reader.read([part], weight=np.ones(BATCH, np.float32), train_step=0)
    window = torch.from_numpy(shard.gather_windows(part.lane, part.step, unroll_steps=UNROLL))
    assert torch.equal(batch.root, window[:, :STACK].flatten(1))
    for j, stack in enumerate(batch.following, start=1):
        assert torch.equal(stack, window[:, j : j + STACK].flatten(1))


@pytest.mark.parametrize("shards", [1, 2])
def test_every_second_sample_s_views_are_those_of_all(shards):
    """With the same augmentation; where it does not divide a shard's part, another sample's would stand there."""
    held = [HostFrames(noisy_shard(seed), CPU) for seed in range(shards)]
    whole, half = (
        read(held, config=small_config(learner=replace(AUGMENTED, consistency_every=every))) for every in (1, 2)
    )
    assert torch.equal(whole.root, half.root) and len(half.following) == UNROLL
    for all_of_them, some in zip(whole.following, half.following, strict=True):
        assert torch.equal(all_of_them[::2], some)
