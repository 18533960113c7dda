"""Standardised input: the mean image taken off and the rest divided by its deviation, as a part of the network.

The frames of many games are nearly equal: on raw pixels a short run's network sees the same picture at every position
and its values learn slowly (docs/03-techniques.md). Every pixel is divided by the same number, the deviation over all
of them: divided by its own, one that rarely changes, such as a score that was never reached before, becomes louder than
all else on the day it does. Statistics are means over the first train steps and stay as they are from then on, so that
weights that were published, saved or loaded read their input as they were trained to.

Axes: B batch, C channels, H W image.
"""

from __future__ import annotations

import os

import torch
from torch import nn

CLAMP = float(os.environ.get("CLAMP", "0"))
FOLLOWED_STEPS = int(os.environ.get("NORM_STEPS", "400"))
FOLLOWED_SAMPLES = 32  # of each batch
SMALLEST_DEVIATION = 1e-3


class InputNorm(nn.Module):
    """[B, C, H, W] -> [B, C, H, W], with mean 0 and a mean square of 1."""

    mean: torch.Tensor
    square: torch.Tensor
    steps: torch.Tensor

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer(
            "mean", torch.zeros(1, *shape)
        )  # with a batch axis, to lie channels last as its input does
        self.register_buffer("square", torch.zeros(()))  # mean of all pixels' squares
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():  # target views are looked at without
            self._follow(x.detach()[:FOLLOWED_SAMPLES].float())
        variance = self.square - self.mean.square().mean()
        scale = variance.clamp_min(SMALLEST_DEVIATION**2).rsqrt()
        x = torch.sub(x, self.mean).mul_(scale)
        return x.clamp_(-CLAMP, CLAMP) if CLAMP else x

    @torch.no_grad()
    def _follow(self, x: torch.Tensor) -> None:
        """Move the statistics, without a look at the device's numbers: a GPU's step is captured."""
        self.steps.add_(1)
        share = torch.where(self.steps <= FOLLOWED_STEPS, 1.0 / self.steps, 0.0)
        self.mean.lerp_(x.mean(0, keepdim=True), share)
        self.square.lerp_(x.square().mean(), share)
