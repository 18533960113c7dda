"""Random shift and brightness. EfficientZero, App. A (after DrQ, Kostrikov et al. 2021).

A shift by up to p pixels with replicated edges is a gather with clamped indices, so one read of the stored uint8
frames yields the network's input: stacked, shifted, scaled, channels last.

Axes: B batch, F frames in the window (stack + unroll), S stacked frames, H W image, C channels.
"""

from __future__ import annotations

import numpy as np
import torch

from speedyzero import keyed_random
from speedyzero.config import LearnerConfig


class Augment:
    """Turns windows of frames into network inputs, augmented where they are images."""

    def __init__(self, config: LearnerConfig, *, seed: int, rank: int = 0):
        """rank: of the learner; samples are numbered over the global batch, so that no two ranks draw alike."""
        self._shift_px, self._intensity_scale = config.shift_px, config.intensity_scale
        self._seed, self._rank = seed, rank

    def __call__(self, window: torch.Tensor, *, train_step: int, view: int) -> torch.Tensor:
        """[B, F, H, W, C] uint8 -> [B, F*C, H, W] float32, channels last; [B, F, D] float32 -> [B, F*D].

        One draw per sample serves all its frames. view: 0 for the root's stack, 1 for the consistency targets.
        """
        if window.dtype != torch.uint8:
            return window.flatten(1)
        batch, frames, height, width, channels = window.shape
        draws = self._draws(batch, train_step, view).to(window.device)
        shifted = self._shift(window, draws) if self._shift_px else window.permute(0, 2, 3, 1, 4)
        pixels = shifted.reshape(batch, height, width, frames * channels).float()
        scale = torch.full((batch, 1, 1, 1), 1.0 / 255.0, device=window.device)
        if self._intensity_scale:
            scale = scale * (1.0 + self._intensity_scale * _normal(draws[:, 2:]).clamp(-2.0, 2.0).view(-1, 1, 1, 1))
        return pixels.mul_(scale).permute(0, 3, 1, 2)

    def _draws(self, batch: int, train_step: int, view: int) -> torch.Tensor:
        sample = self._rank * batch + np.arange(batch)
        keys = keyed_random.keys(self._seed, keyed_random.AUGMENT, train_step, view, sample)
        return torch.from_numpy(keyed_random.uniform(keys, 4)).float()  # [B, 4]: dy, dx, two for the brightness

    def _shift(self, window: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """Each sample moved by whole pixels in [-p, p], [B, H, W, F, C]."""
        batch, _, height, width, _ = window.shape
        offset = (draws[:, :2] * (2 * self._shift_px + 1)).long().clamp(max=2 * self._shift_px) - self._shift_px
        rows = (torch.arange(height, device=window.device) + offset[:, :1]).clamp(0, height - 1)  # [B, H]
        columns = (torch.arange(width, device=window.device) + offset[:, 1:]).clamp(0, width - 1)  # [B, W]
        sample = torch.arange(batch, device=window.device)[:, None, None]
        return window.permute(0, 2, 3, 1, 4)[sample, rows[:, :, None], columns[:, None, :]]


def _normal(uniform: torch.Tensor) -> torch.Tensor:
    """Box and Muller: [B, 2] uniform -> [B] standard normal."""
    return torch.sqrt(-2.0 * torch.log(uniform[:, 0])) * torch.cos(2.0 * torch.pi * uniform[:, 1])
