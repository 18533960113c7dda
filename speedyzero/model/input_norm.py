"""Standardised input: each pixel by its own running mean and deviation, within limits, as a part of the network.

The frames of many games are nearly equal: on raw pixels a short run's network sees the same picture at every position,
and its values learn slowly. Standardised, a small thing that moves, such as a ball, is as loud as a large one. Nothing
may be louder than LIMIT: a pixel that hardly ever changes, such as a score's digit on the day that it is first shown,
would otherwise drown all else. Both decide how fast Pong is learnt (docs/design/techniques.md).

Statistics are means over the first train steps and stay as they are from then on, so that weights that were published,
saved or loaded read their input as they were trained to.

Axes: B batch, C channels, H W image.
"""

from __future__ import annotations

import torch
from torch import nn

FOLLOWED_STEPS = 400
FOLLOWED_SAMPLES = 32  # of each batch
SMALLEST_DEVIATION = 0.05  # added to each pixel's: one that never changed yet is not divided by nothing
LIMIT = 4.0  # deviations


class InputNorm(nn.Module):
    """[B, C, H, W] -> [B, C, H, W], within -LIMIT and LIMIT."""

    mean: torch.Tensor
    square: torch.Tensor
    steps: torch.Tensor

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer(
            "mean", torch.zeros(1, *shape)
        )  # with a batch axis, to lie channels last as its input does
        self.register_buffer("square", torch.zeros(1, *shape))  # mean of the squares
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():  # target views are looked at without
            self._follow(x.detach()[:FOLLOWED_SAMPLES].float())
        deviation = (self.square - self.mean.square()).clamp_min(0).sqrt()
        scale = (deviation + SMALLEST_DEVIATION).reciprocal()
        return torch.addcmul(-self.mean * scale, x.float(), scale).clamp_(-LIMIT, LIMIT)

    @torch.no_grad()
    def _follow(self, x: torch.Tensor) -> None:
        """Move the statistics, without a look at the device's numbers: a GPU's step is captured."""
        self.steps.add_(1)
        share = torch.where(self.steps <= FOLLOWED_STEPS, 1.0 / self.steps, 0.0)
        self.mean.lerp_(x.mean(0, keepdim=True), share)
        self.square.lerp_(x.square().mean(0, keepdim=True), share)
