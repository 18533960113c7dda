"""Converts stored stacked frames to network inputs.

Axes: B batch, S stacked frames (oldest first), H W image, C channels, D features.
"""

import torch

from kernels.stack_gather import stack_gather


def to_network_input(
    stacked: torch.Tensor, *, shift: torch.Tensor | None = None, scale: torch.Tensor | None = None
) -> torch.Tensor:
    """[B, S, H, W, C] uint8 -> [B, S*C, H, W] float32 in [0, 1], channels last; [B, S, D] float32 -> [B, S*D].

    shift, scale: of images, as `stack_gather`'s.
    """
    if stacked.dtype != torch.uint8:
        return stacked.flatten(1)
    batch, stack = stacked.shape[:2]
    place = torch.arange(batch, device=stacked.device)
    begins = torch.zeros((batch, stack), dtype=torch.bool, device=stacked.device)
    newest = torch.full_like(place, stack - 1)
    return stack_gather(stacked.contiguous(), begins, place, newest, stack=stack, shift=shift, scale=scale)
