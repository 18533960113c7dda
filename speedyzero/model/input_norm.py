"""Input standardisation by each pixel's running mean and deviation, clipped, as a module of the network.

The frames of many games are nearly equal, so on raw pixels a short run learns values slowly. Standardisation gives a
small moving object, such as a ball, the weight of a large one. Clipping to LIMIT keeps a pixel that rarely changes,
such as a score's digit when it first appears, from dominating. Both decide how fast Pong is learnt
(docs/design/techniques.md).

Statistics are means over the first train steps and fixed afterwards, so that published, saved and loaded weights see
the input that they were trained on.

Axes: B batch, C channels, H W image.
"""

import torch
from torch import nn

FOLLOWED_STEPS = 400
FOLLOWED_SAMPLES = 32  # of each batch
SMALLEST_DEVIATION = 0.05  # added to each pixel's, which may be 0
LIMIT = 4.0  # deviations


class InputNorm(nn.Module):
    """[B, C, H, W] -> [B, C, H, W], within -LIMIT and LIMIT."""

    mean: torch.Tensor
    square: torch.Tensor
    steps: torch.Tensor

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, *shape))  # a batch axis, for channels last as in the input
        self.register_buffer("square", torch.zeros(1, *shape))  # mean of the squares
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():  # target views run without
            self._follow(x.detach()[:FOLLOWED_SAMPLES].float())
        deviation = (self.square - self.mean.square()).clamp_min(0).sqrt()
        scale = (deviation + SMALLEST_DEVIATION).reciprocal()
        return torch.addcmul(-self.mean * scale, x.float(), scale).clamp_(-LIMIT, LIMIT)

    @torch.no_grad()
    def _follow(self, x: torch.Tensor) -> None:
        """Update the statistics without synchronising: on a GPU the step is captured."""
        self.steps.add_(1)
        share = torch.where(self.steps <= FOLLOWED_STEPS, 1.0 / self.steps, 0.0)
        self.mean.lerp_(x.mean(0, keepdim=True), share)
        self.square.lerp_(x.square().mean(0, keepdim=True), share)
