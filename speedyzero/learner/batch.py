"""Turns batch records into training batches: gathers and augments frames, converts targets to tensors.

On a GPU nothing here blocks: small arrays are copied asynchronously from pinned memory.

Axes: B batch (one rank's), K unroll steps (the consistency loss covers J of them, for every n-th sample), S stacked
frames, A actions, C channels, H W image, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.learner.augment import Augment
from speedyzero.learner.unroll import consistency_steps
from speedyzero.replay.frames import FrameSource, GatheredStacks
from speedyzero.replay.staging import on_device
from speedyzero.topology.records import BatchRecord


@dataclass(frozen=True)
class Batch:
    """One rank's batch on its device. Images are float32, or bfloat16 on a GPU, where C may be padded with zeros."""

    root: torch.Tensor  # [B, S*C, H, W] or [B, S*D]: the stack at the sampled position
    following: tuple[torch.Tensor, ...]  # J stacks like `root`, [B / n, ...]: after each action, for every n-th sample
    action: torch.Tensor  # [B, K] int64
    action_mask: torch.Tensor  # [B, K] float32
    value: torch.Tensor  # [B, K+1] float32
    prefix: torch.Tensor  # [B, K] float32
    policy: torch.Tensor  # [B, K+1, A] float32
    weight: torch.Tensor  # [B] float32: importance weights; the largest of the global batch is 1


class BatchReader:
    """Builds a batch from one batch record per shard."""

    def __init__(self, config: Config, frames: Sequence[FrameSource], *, device: torch.device, rank: int):
        """frames: one source per shard, on `device`."""
        self._frames, self._device = frames, device
        self._augment = Augment(config.learner, seed=config.seed, rank=rank)
        self._seen_steps, self._every = consistency_steps(config), config.learner.consistency_every

    def read(self, parts: Sequence[BatchRecord], *, weight: np.ndarray, train_step: int) -> Batch:
        """weight: [B] float32, see `Batch`. train_step keys the augmentation."""
        unrolled = self._unrolled(parts, train_step)
        return Batch(
            root=_joined([part.root for part in unrolled]),
            following=tuple(_joined(stacks) for stacks in zip(*(part.following for part in unrolled), strict=True)),
            action=self._field(parts, "action"),
            action_mask=self._field(parts, "action_mask"),
            value=self._field(parts, "value_target"),
            prefix=self._field(parts, "prefix_target"),
            policy=self._field(parts, "policy_target"),
            weight=on_device(weight, self._device),
        )

    def _unrolled(self, parts: Sequence[BatchRecord], train_step: int) -> list[GatheredStacks]:
        """Frames of each record. Samples are numbered across all records."""
        ends = np.cumsum([len(part.lane) for part in parts])
        assert len(parts) == 1 or not any(ends % self._every), "checked by `config.placement`"
        batch = int(ends[-1])
        root = self._augment.draw(batch, train_step=train_step, view=0, device=self._device)
        following = self._augment.draw(batch, train_step=train_step, view=1, device=self._device)
        unrolled = []
        for frames, part, end in zip(self._frames, parts, ends, strict=True):
            rows = slice(int(end) - len(part.lane), int(end))
            unrolled.append(
                frames.unrolled(
                    part.lane,
                    part.step,
                    unroll_steps=self._seen_steps,
                    root=root.part(rows),
                    following=following.part(slice(rows.start, rows.stop, self._every)),
                    every=self._every,
                )
            )
        return unrolled

    def _field(self, parts: Sequence[BatchRecord], name: str) -> torch.Tensor:
        return on_device(join([getattr(part, name) for part in parts]), self._device)


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenate along the batch axis; a single array is returned unchanged."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
