"""Decodes a categorical head's last hidden layer to the scalar it represents, in float32 throughout.

    logits = hidden weight^T + bias          x = h^-1(sum over bins of softmax(logits) * (bin - N // 2) * step)

h(x) = sign(x)(sqrt(|x| + 1) - 1) + eps x with eps = 0.001 (MuZero, App. F, after Pohlen et al. 2018). Logits are never
stored, since rounding them to bf16 would add noise to every value. Called by inference on the GPU.

Axes: B rows, K hidden units, N bins (odd; the middle one represents 0).
"""

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.decode_head import reference


def decode_head(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    step: float,
    out: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """hidden: [B, K]; weight: [N, K]; bias: [N]; float32 or bfloat16, contiguous -> out: [B] float32.

    step: the distance between two bins. Raises ValueError for mismatched shapes.
    """
    batch, inputs = hidden.shape
    if weight.shape != (bins := bias.shape[0], inputs):
        raise ValueError(f"weight is {list(weight.shape)}, hidden {list(hidden.shape)} and bias [{bins}] need [N, K]")
    if out is None:
        out = torch.empty(batch, device=hidden.device)
    require("out", out, (batch,), torch.float32)
    if uses_triton(hidden, backend):
        from kernels.decode_head import triton_gpu

        triton_gpu.decode_head(hidden.contiguous(), weight.contiguous(), bias, out, step=step)
        return out
    return out.copy_(reference.decode_head(hidden, weight, bias, step=step))
