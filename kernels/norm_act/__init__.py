"""relu(batch norm(x) + residual) in training, forward and backward: three operations in two passes over memory.

    mean, var over the rows          y = relu((x - mean) / sqrt(var + eps) * weight + bias + residual)
    running mean += momentum (mean - running mean)            the same of var with Bessel's correction

(Ioffe and Szegedy 2015; torch's BatchNorm1d and BatchNorm2d.) Statistics and their gradients are always float32;
nothing is rounded to x's type between norm, sum and ReLU. NaN propagates, as through torch's ReLU, so that the learner
detects it. Called by the learner's network on a GPU (`speedyzero/model/blocks.py`).

Axes: B batch, C channels, H W image; N rows: B, or B*H*W for images, which are channels last.
"""

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.norm_act import reference


def norm_act(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    running_mean: torch.Tensor,
    running_var: torch.Tensor,
    residual: torch.Tensor | None = None,
    *,
    eps: float = 1e-5,
    momentum: float = 0.1,
    backend: str = "auto",
) -> torch.Tensor:
    """Differentiable in x, weight, bias and residual; updates the running statistics in place.

    x: [B, C, H, W] or [B, C], float32 or bfloat16; residual like x; the others [C] float32. Returns x's shape and type.
    Raises ValueError for mismatched shapes or types, and for a single row, which has no variance.
    """
    _check(x, residual, {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var})
    if not uses_triton(x, backend):
        return reference.norm_act(x, weight, bias, running_mean, running_var, residual, eps=eps, momentum=momentum)
    from kernels.norm_act.triton_gpu import NormAct

    result = NormAct.apply(x, weight, bias, running_mean, running_var, residual, eps, momentum)
    assert isinstance(result, torch.Tensor)
    return result


def _check(x: torch.Tensor, residual: torch.Tensor | None, by_channel: dict[str, torch.Tensor]) -> None:
    if x.dim() not in (2, 4) or x.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"x is {list(x.shape)} {x.dtype}, must be [B, C] or [B, C, H, W], float32 or bfloat16")
    channels = x.shape[1]
    rows = x.numel() // channels if channels else 0
    if rows < 2:
        raise ValueError(f"x is {list(x.shape)}: a variance needs 2 rows or more, there are {rows}")
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ValueError(f"residual is {list(residual.shape)} {residual.dtype}, x is {list(x.shape)} {x.dtype}")
    for name, tensor in by_channel.items():
        require(name, tensor, (channels,), torch.float32)
