"""From stacked frames as they are stored to what a network reads.

Axes: B batch, S stacked frames (oldest first), H W image, C channels, D features.
"""

from __future__ import annotations

import torch


def to_network_input(stacked: torch.Tensor) -> torch.Tensor:
    """[B, S, H, W, C] uint8 -> [B, S*C, H, W] float32 in [0, 1], channels last; [B, S, D] float32 -> [B, S*D]."""
    if stacked.dtype != torch.uint8:
        return stacked.flatten(1)
    batch, stack, height, width, channels = stacked.shape
    pixels = stacked.permute(0, 2, 3, 1, 4).reshape(batch, height, width, stack * channels)
    return pixels.permute(0, 3, 1, 2).float().mul_(1.0 / 255.0)
