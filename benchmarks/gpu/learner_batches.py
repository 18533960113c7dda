"""What the learner's stage trains on: a replay of noise, mirrored on the device, and batches drawn from it.

Axes: B batch, K unroll steps, S stacked frames, A actions, C channels, H W image.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.gpu.networks import frame_spec, random_frames
from speedyzero.config import Config
from speedyzero.learner.batch import Batch, BatchReader
from speedyzero.model.blocks import PAD_CHANNELS_TO
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.topology.records import BatchRecord

ACTIONS = 18


@dataclass
class BatchSource:
    """Batches as the learner reads them: positions from the host, frames from the mirror, augmented."""

    reader: BatchReader
    records: list[BatchRecord]  # taken in turn

    def read(self, number: int) -> Batch:
        record = self.records[number % len(self.records)]
        weight = np.ones(len(record.lane), np.float32)
        return self.reader.read([record], weight=weight, train_step=number)


def noise_mirror(config: Config, device: torch.device, *, lanes: int, rows: int) -> DeviceMirror:
    """Full of frames of noise, an episode's beginning in every hundred."""
    rng, target = np.random.default_rng(0), config.target
    lookahead = target.unroll_steps + target.td_steps
    shard = Shard(ShardShape(lanes, rows, frame_spec(config), ACTIONS, stack=config.env.stack, lookahead=lookahead))
    shard.frame[:] = rng.integers(256, size=shard.frame.shape, dtype=np.uint8)
    shard.first[:] = rng.random(shard.first.shape) < 0.01
    shard.ticks[:] = shard.head[:] = rows
    on_gpu = device.type == "cuda"
    mirror = DeviceMirror(
        shard, device, dtype=torch.bfloat16 if on_gpu else torch.float32, pad_channels_to=PAD_CHANNELS_TO
    )
    mirror.follow()
    return mirror


def batch_source(config: Config, mirror: DeviceMirror, device: torch.device, *, count: int = 4) -> BatchSource:
    """Batches of `learner.batch_size`."""
    _, rows = mirror.first.shape
    records = [random_record(config, lanes=len(mirror.first), rows=rows, seed=seed) for seed in range(count)]
    return BatchSource(BatchReader(config, [mirror], device=device, rank=0), records)


def random_record(config: Config, *, lanes: int, rows: int, seed: int) -> BatchRecord:
    """With everything that a record holds."""
    rng = np.random.default_rng(seed)
    size, unroll = config.learner.batch_size, config.target.unroll_steps
    return BatchRecord(
        lane=rng.integers(lanes, size=size),
        step=rng.integers(config.env.stack, rows - unroll, size=size),
        probability=rng.random(size) + 0.1,
        action=rng.integers(ACTIONS, size=(size, unroll)),
        action_mask=(rng.random((size, unroll)) < 0.95).astype(np.float32),
        value_target=rng.normal(size=(size, unroll + 1)).astype(np.float32),
        prefix_target=rng.normal(size=(size, unroll)).astype(np.float32),
        policy_target=rng.dirichlet(np.ones(ACTIONS), size=(size, unroll + 1)).astype(np.float32),
        target_version=0,
        made_at=0,
    )


def smooth_batch(config: Config, *, seed: int) -> Batch:
    """On the CPU in float32, channels last: for comparisons of one type and device with another."""
    record = random_record(config, lanes=1, rows=100, seed=seed)
    images = []
    for number in range(1 + config.target.unroll_steps):
        frames = torch.from_numpy(random_frames(config, len(record.lane), seed=1000 * seed + number))
        stacked = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255.0  # [B, S*C, H, W]
        images.append(stacked.contiguous(memory_format=torch.channels_last))
    return Batch(
        root=images[0],
        following=tuple(images[1:]),
        action=torch.from_numpy(record.action),
        action_mask=torch.from_numpy(record.action_mask),
        value=torch.from_numpy(record.value_target),
        prefix=torch.from_numpy(record.prefix_target),
        policy=torch.from_numpy(record.policy_target),
        weight=torch.from_numpy(record.probability.astype(np.float32)),
    )


def moved(batch: Batch, device: torch.device, image_dtype: torch.dtype) -> Batch:
    """The same on a device, with images of a type."""

    def image(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, image_dtype)

    others = {
        name: getattr(batch, name).to(device)
        for name in ("action", "action_mask", "value", "prefix", "policy", "weight")
    }
    return replace(batch, root=image(batch.root), following=tuple(map(image, batch.following)), **others)
