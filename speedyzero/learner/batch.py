"""From batch records to what the network trains on: frames gathered where they lie, augmented, and targets as tensors.

Axes: B batch (one rank's), K unroll steps, S stacked frames, A actions, C channels, H W image, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.learner.augment import Augment
from speedyzero.records import BatchRecord
from speedyzero.replay.shard import Shard


@dataclass(frozen=True)
class Batch:
    """One rank's batch on its device."""

    root: torch.Tensor  # [B, S*C, H, W] or [B, S*D] float32: the stack at the sampled position
    following: torch.Tensor  # [B, (S+K-1)*C, H, W] or [B, (S+K-1)*D]: frames of the stacks seen after each action
    action: torch.Tensor  # [B, K] int64
    action_mask: torch.Tensor  # [B, K] float32
    value: torch.Tensor  # [B, K+1] float32
    prefix: torch.Tensor  # [B, K] float32
    policy: torch.Tensor  # [B, K+1, A] float32
    weight: torch.Tensor  # [B] float32: importance weights, the global batch's largest being 1

    def following_stacks(self, *, stack: int) -> list[torch.Tensor]:
        """The stacks seen after each of the K actions, K views of [B, S*C, H, W]."""
        unroll_steps = self.action.shape[1]
        width = self.following.shape[1] // (stack + unroll_steps - 1)  # channels (or features) of one frame
        return [self.following[:, j * width : (j + stack) * width] for j in range(unroll_steps)]


class BatchReader:
    """Makes batches of records' parts, one from each shard."""

    def __init__(self, config: Config, shards: Sequence[Shard], *, device: torch.device, rank: int):
        self._shards, self._device = shards, device
        self._stack, self._unroll_steps = config.env.stack, config.target.unroll_steps
        self._augment = Augment(config.learner, seed=config.seed, rank=rank)

    def read(self, parts: Sequence[BatchRecord], *, weight: np.ndarray, train_step: int) -> Batch:
        """weight: [B] float32, see `Batch`. train_step keys the augmentation."""
        window = self._windows(parts)
        return Batch(
            root=self._augment(window[:, : self._stack], train_step=train_step, view=0),
            following=self._augment(window[:, 1:], train_step=train_step, view=1),
            action=self._joined(parts, "action"),
            action_mask=self._joined(parts, "action_mask"),
            value=self._joined(parts, "value_target"),
            prefix=self._joined(parts, "prefix_target"),
            policy=self._joined(parts, "policy_target"),
            weight=torch.from_numpy(weight).to(self._device),
        )

    def _windows(self, parts: Sequence[BatchRecord]) -> torch.Tensor:
        """Frames of the roots' stacks and of the K steps after them, [B, S+K, ...]."""
        windows = [
            shard.gather_windows(part.lane, part.step, unroll_steps=self._unroll_steps)
            for shard, part in zip(self._shards, parts, strict=True)
        ]
        return torch.from_numpy(join(windows)).to(self._device)

    def _joined(self, parts: Sequence[BatchRecord], field: str) -> torch.Tensor:
        return torch.from_numpy(join([getattr(part, field) for part in parts])).to(self._device)


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One after the other along the batch axis; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
