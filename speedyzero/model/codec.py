"""Scalars as categorical distributions. MuZero, App. F (after Pohlen et al. 2018).

A scalar x in reward units is squashed by h(x) = sign(x)(sqrt(|x|+1) - 1) + eps x, clipped to +-limit, and split
linearly between the two nearest of the evenly spaced bins. Called by the learner (encode, decode) and by inference.

Axes: ... any leading axes, N bins.
"""

import torch
from torch import nn

from kernels.decode_head.reference import EPSILON, unsquash
from speedyzero.config import CodecConfig


def squash(x: torch.Tensor) -> torch.Tensor:
    """h(x), elementwise; NaN where x is not finite. The quotient avoids the cancellation of sqrt(|x|+1) - 1 near 0."""
    return x / (torch.sqrt(torch.abs(x) + 1.0) + 1.0) + EPSILON * x


class ScalarCodec(nn.Module):
    """Encode scalars to two-hot targets and decode logits to scalars, for one choice of bins.

    Raises ValueError if the limit is not a whole number of steps.
    """

    support: torch.Tensor  # [N]: the bins, in h(x)

    def __init__(self, config: CodecConfig):
        super().__init__()
        if abs(config.limit / config.step - round(config.limit / config.step)) > 1e-6:
            raise ValueError(f"codec limit={config.limit} is not a multiple of step={config.step}")
        self.limit, self.step, self.bins = config.limit, config.step, config.bins
        support = (torch.arange(config.bins, dtype=torch.float64) - config.bins // 2) * config.step
        self.register_buffer("support", support.float(), persistent=False)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Scalars [...] to two-hot distributions [..., N] float32; NaN for a scalar that is not finite.

        Computed in bins from the middle one, which keeps the precision of small scalars under a large limit.
        """
        middle = self.bins // 2
        distance = (squash(x.float()).abs() / self.step).clamp(max=middle)
        inner = distance.floor().clamp(max=middle - 1)
        outer_share = (distance - inner).unsqueeze(-1)
        direction = torch.where(x < 0, -1, 1)
        inner_bin = (middle + direction * inner.nan_to_num().long()).unsqueeze(-1)
        outer_bin = inner_bin + direction.unsqueeze(-1)
        target = torch.zeros(*x.shape, self.bins, device=x.device)
        return target.scatter_(-1, inner_bin, 1.0 - outer_share).scatter_(-1, outer_bin, outer_share)

    def decode(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [..., N] to the scalars that they encode, [...] float32."""
        return unsquash(torch.softmax(logits.float(), dim=-1) @ self.support)
