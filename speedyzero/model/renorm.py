"""Batch renormalization: training normalises by the statistics that inference uses. Ioffe 2017.

Batch norm normalises each unroll step's latents in dynamics and heads by that step's own batch statistics, but a search
has one set of running statistics for all of them. Differences between the steps then come through: values and rewards
depend on a node's depth by more than an action changes them. The representation, which reads images alone, has no such
steps.

    y = (x - mean) / sd * r + d,   then weight and bias as usual
    r = sd / running sd,   d = (mean - running mean) / running sd,   both without a gradient

This equals (x - running mean) / running sd, but with batch norm's gradient, which keeps training from drifting. r and d
are clipped to [1 / R, R] and [-D, D]: at first R = 1 and D = 0, which is batch norm, until the running statistics are
meaningful; later R = 3 and D = 5. Nothing is read on the host, so a GPU's step can be captured.

Axes: B batch, C channels, H W image.
"""

import torch
from torch import nn
from torch.nn import functional as F

WARM_UP_CALLS = 500  # as batch norm; as many again up to the limits. A train step makes 5 calls, the prediction's 11.
LARGEST_R, LARGEST_D = 3.0, 5.0
# A mean over about 20 train steps (the prediction's: 9) with similar weights for all states; first over all calls.
MOMENTUM = 0.01


class _BatchRenorm(nn.modules.batchnorm._BatchNorm):
    """Shared by both shapes. Parameters, buffers and evaluation are batch norm's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [B, C] or [B, C, H, W]."""
        if not self.training:
            return super().forward(x)
        scale, shift = self._corrections(x)
        weight, bias = self.weight * scale, self.bias + self.weight * shift
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=self.eps)

    @torch.no_grad()
    def _corrections(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """r and d, [C], float32; then updates the running statistics."""
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
    """Replaces `nn.BatchNorm1d`."""


class BatchRenorm2d(_BatchRenorm, nn.BatchNorm2d):
    """Replaces `nn.BatchNorm2d`."""


def renormalize(module: nn.Module) -> None:
    """Replace every batch norm below `module` by batch renormalization. Before training: weights are new."""
    for part in list(module.modules()):
        for name, child in part.named_children():
            if type(child) is nn.BatchNorm1d:
                setattr(part, name, BatchRenorm1d(child.num_features, eps=child.eps))
            elif type(child) is nn.BatchNorm2d:
                setattr(part, name, BatchRenorm2d(child.num_features, eps=child.eps))
