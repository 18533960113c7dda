"""Scalars as categorical distributions. MuZero, App. F (after Pohlen et al. 2018).

A scalar x in reward units is squashed by h(x) = sign(x)(sqrt(|x|+1) - 1) + eps x, clipped to +-limit, and split
linearly between the two nearest of the evenly spaced bins. Called by the learner (encode, decode) and by inference.

Axes: ... any leading axes, N bins.
"""

from __future__ import annotations

import torch
from torch import nn

from speedyzero.config import CodecConfig

EPSILON = 0.001


def squash(x: torch.Tensor) -> torch.Tensor:
    """h(x), elementwise."""
    return torch.sign(x) * (torch.sqrt(torch.abs(x) + 1.0) - 1.0) + EPSILON * x


def unsquash(y: torch.Tensor) -> torch.Tensor:
    """h^-1(y), elementwise. The textbook form loses 3.5e-4 to cancellation in float32; this one does not."""
    magnitude = torch.abs(y)
    shifted = magnitude + (1.0 + EPSILON)
    root = torch.sqrt(1.0 + (4.0 * EPSILON) * shifted)
    z = 2.0 * shifted / (root + 1.0)  # sqrt(|x| + 1)
    return torch.sign(y) * (2.0 * magnitude + 2.0 * EPSILON * (1.0 - z)) / (root + 1.0) * (z + 1.0)


class ScalarCodec(nn.Module):
    """Encode scalars to two-hot targets and decode logits to scalars, for one choice of bins.

    Raises ValueError where the limit is no whole number of steps.
    """

    support: torch.Tensor  # [N]: the bins, in h(x)

    def __init__(self, config: CodecConfig):
        super().__init__()
        if abs(config.limit / config.step - round(config.limit / config.step)) > 1e-6:
            raise ValueError(f"codec limit={config.limit} is no whole multiple of step={config.step}")
        self.limit, self.step, self.bins = config.limit, config.step, config.bins
        support = (torch.arange(config.bins, dtype=torch.float64) - config.bins // 2) * config.step
        self.register_buffer("support", support.float(), persistent=False)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Scalars [...] to two-hot distributions [..., N] float32."""
        position = (squash(x.float()).clamp(-self.limit, self.limit) + self.limit) / self.step
        low = position.floor().clamp(max=self.bins - 2)
        share = (position - low).unsqueeze(-1)  # of the upper bin
        low = low.long().unsqueeze(-1)
        target = torch.zeros(*x.shape, self.bins, device=x.device)
        return target.scatter_(-1, low, 1.0 - share).scatter_(-1, low + 1, share)

    def decode(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [..., N] to the scalars that their distributions stand for, [...] float32."""
        return unsquash(torch.softmax(logits.float(), dim=-1) @ self.support)
