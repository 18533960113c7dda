"""Batch renormalization: in training, the statistics that inference will use. Ioffe 2017.

Batch norm shows the dynamics and the heads each unroll step's latents by that step's own batch statistics. A search has
one set of running statistics for all of them, so that there what differs between the steps comes through: values and
rewards that depend on how deep a node lies, by more than an action changes them.
The representation, which reads images alone, has no such steps.

    y = (x - mean) / sd * r + d,   then weight and bias as ever
    r = sd / running sd,   d = (mean - running mean) / running sd,   both without a gradient

which is (x - running mean) / running sd, but with batch norm's gradient, that keeps training from drifting. r and d are
held to [1 / R, R] and [-D, D]: at first R = 1 and D = 0, batch norm, until the running statistics mean something; later
R = 3 and D = 5. Nothing is read on the host, so a GPU's step can be captured.

Axes: B batch, C channels, H W image.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP_CALLS = 500  # as batch norm; as many again until the limits are reached. A step makes 5, the prediction's 11.
LARGEST_R, LARGEST_D = 3.0, 5.0
# A mean over some 20 train steps (the prediction's: 9), to which all states add alike; until then over all calls.
MOMENTUM = 0.01


class _BatchRenorm(nn.modules.batchnorm._BatchNorm):
    """What both shapes share. Parameters, buffers and evaluation are batch norm's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [B, C] or [B, C, H, W]."""
        if not self.training:
            return super().forward(x)
        scale, shift = self._corrections(x)
        weight, bias = self.weight * scale, self.bias + self.weight * shift
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)

    @torch.no_grad()
    def _corrections(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """r and d, [C], float32; moves the running statistics afterwards."""
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        variance, mean = torch.var_mean(x.float(), dim=(0,) if x.dim() == 2 else (0, 2, 3), correction=0)
        running_sd = (self.running_var + self.eps).sqrt()
        share = ((self.num_batches_tracked - WARM_UP_CALLS) / WARM_UP_CALLS).clamp(0.0, 1.0)
        r_limit, d_limit = 1.0 + (LARGEST_R - 1.0) * share, LARGEST_D * share
        r = torch.clamp((variance + self.eps).sqrt() / running_sd, 1.0 / r_limit, r_limit)
        d = torch.clamp((mean - self.running_mean) / running_sd, -d_limit, d_limit)
        self.num_batches_tracked.add_(1)
        momentum = (1.0 / self.num_batches_tracked).clamp_min(MOMENTUM)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)
        return r, d


class BatchRenorm1d(_BatchRenorm, nn.BatchNorm1d):
    """In the place of `nn.BatchNorm1d`."""


class BatchRenorm2d(_BatchRenorm, nn.BatchNorm2d):
    """In the place of `nn.BatchNorm2d`."""


def renormalize(module: nn.Module) -> None:
    """Put batch renormalization in the place of every batch norm below `module`. Before training: weights are new."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if type(child) is nn.BatchNorm1d:
                setattr(part, name, BatchRenorm1d(child.num_features, eps=child.eps))
            elif type(child) is nn.BatchNorm2d:
                setattr(part, name, BatchRenorm2d(child.num_features, eps=child.eps))
