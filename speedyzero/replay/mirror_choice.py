"""Chooses where a process reads its frames: on the host or in a mirror on its GPU. `replay.device_mirror`.

Each learner mirrors the shards that it draws from, each reanalyzer its own, so a GPU that hosts both holds the frames
twice, with room for all rows that the run can fill: 2 x 2.8 GB for 100,000 frames of 96x96 in colour. `auto` mirrors if
all mirrors of a GPU together take at most half of its free memory; the rest is for networks, activations and search
trees.

Called when the learner and the reanalyzer are built, and by the table that a run prints.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from speedyzero.config import Config
from speedyzero.config.placement import Placement, place
from speedyzero.replay.device_mirror import DeviceMirror, mirror_bytes
from speedyzero.replay.frames import FrameSource, HostFrames
from speedyzero.replay.shard import Shard

MOST_OF_FREE = 0.5
log = logging.getLogger("speedyzero.replay")


def frame_sources(
    config: Config,
    shards: Sequence[Shard],
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    pad_channels_to: int = 1,
) -> list[FrameSource]:
    """A source for each shard, on `device`. dtype, pad_channels_to: of mirrors; the host gives unpadded float32.

    Raises ValueError if mirrors are required but impossible.
    """
    if not _mirrored(config, shards, device):
        return [HostFrames(shard, device) for shard in shards]
    return [DeviceMirror(shard, device, dtype=dtype, pad_channels_to=pad_channels_to) for shard in shards]


def wants_mirrors(setting: str, *, own_bytes: int, all_bytes: int, free_bytes: int) -> bool:
    """Whether a process mirrors its frames. own_bytes: its mirrors; all_bytes: of all processes on its GPU.

    Raises ValueError if required mirrors exceed the free memory.
    """
    if setting == "on" and own_bytes > free_bytes:
        raise ValueError(
            f"replay.device_mirror=on takes {own_bytes:,} bytes of GPU memory, {free_bytes:,} are free; use auto, "
            "or a smaller replay.capacity_steps"
        )
    return setting == "on" or (setting == "auto" and all_bytes <= MOST_OF_FREE * free_bytes)


def mirrors_on(placement: Placement, gpu: int) -> int:
    """Number of mirrors on a GPU, if mirrored: one per shard that a learner there draws from, one per reanalyzer."""
    device = f"cuda:{gpu}"
    drawn = sum(placement.learners[feed.learner] == device for feed in placement.feeds)
    return drawn + placement.shards.count(device)


def _mirrored(config: Config, shards: Sequence[Shard], device: torch.device) -> bool:
    setting, shape = config.replay.device_mirror, shards[0].shape
    if device.type != "cuda" or setting == "off":
        return False
    if not shape.spec.is_image:
        if setting == "on":
            raise ValueError(f"replay.device_mirror=on mirrors images, but {config.env.game} shows {shape.spec.shape}")
        return False
    gpu = torch.cuda.current_device() if device.index is None else device.index
    free_bytes, _ = torch.cuda.mem_get_info(gpu)
    one_bytes, on_gpu = mirror_bytes(shape), mirrors_on(place(config), gpu)
    mirrored = wants_mirrors(
        setting, own_bytes=len(shards) * one_bytes, all_bytes=on_gpu * one_bytes, free_bytes=free_bytes
    )
    log.info(
        "frames %s on cuda:%d: %d mirrors of %.2f GB there, %.2f GB free, device_mirror=%s",
        "mirrored" if mirrored else "gathered on the host", gpu, on_gpu, one_bytes / 1e9, free_bytes / 1e9, setting,
    )  # fmt: skip
    return mirrored
