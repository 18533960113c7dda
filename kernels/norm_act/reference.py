"""norm_act in plain torch: the definition, differentiated by autograd."""

import torch
from torch.nn import functional as F


def norm_act(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    residual: torch.Tensor | None,
    *,
    eps: float,
    momentum: float,
) -> torch.Tensor:
    """See the package's docstring."""
    normed = F.batch_norm(x, running_mean, running_var, weight, bias, training=True, momentum=momentum, eps=eps)
    return F.relu(normed if residual is None else normed + residual)
