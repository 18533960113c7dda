"""The pointwise part of one LSTM step for a search's value prefix, after the matrix product.

    i, f, g, o = gates + bias          c' = sigmoid(f) c + sigmoid(i) tanh(g)          h' = sigmoid(o) tanh(c')

(Hochreiter and Schmidhuber 1997; gates in torch's order.) The head reads h' as `output`; the stored state is zero if
the leaf's depth is a multiple of the prefix horizon (`reset`), which restarts its children's value prefix. It is
written to the search's states of all nodes, at the node whose number is in device memory. Called by inference on the
GPU.

Axes: B rows, D inputs, H hidden units, N nodes.
"""

from dataclasses import dataclass

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.lstm_cell import reference


@dataclass(frozen=True)
class LSTMStep:
    """Where a step's results go."""

    output: torch.Tensor  # [B, H] float32 or bfloat16: h', whether or not the row is reset
    h: torch.Tensor  # [N, B, H] float32 or bfloat16: the stored states
    c: torch.Tensor  # the same in float32


def lstm_pointwise(
    gates: torch.Tensor,
    bias: torch.Tensor,
    c: torch.Tensor,
    *,
    reset: torch.Tensor,
    node: torch.Tensor,
    out: LSTMStep,
    backend: str = "auto",
) -> None:
    """gates: [B, 4H], float32 or bfloat16, without the bias; bias: [4H] and c: [B, H], float32; reset: [B] bool; node:
    [1] int64 below N. Raises ValueError for mismatched shapes or types.
    """
    batch, hidden = c.shape
    require("gates", gates, (batch, 4 * hidden), gates.dtype)
    require("bias", bias, (4 * hidden,), torch.float32)
    require("c", c, c.shape, torch.float32)
    require("reset", reset, (batch,), torch.bool)
    require("node", node, (1,), torch.int64)
    require("out.output", out.output, c.shape, out.output.dtype)
    require("out.h", out.h, (len(out.c), batch, hidden), out.h.dtype)
    require("out.c", out.c, (len(out.c), batch, hidden), torch.float32)
    if gates.numel() >= 2**31:
        raise ValueError(f"{gates.numel()} gates are 2^31 or more")
    if uses_triton(gates, backend):
        from kernels.lstm_cell.triton_gpu import lstm_pointwise as run
    else:
        run = reference.lstm_pointwise
    run(gates, bias, c, reset, node, out)


def pack_weights(
    weight_ih: torch.Tensor,
    weight_hh: torch.Tensor,
    bias_ih: torch.Tensor,
    bias_hh: torch.Tensor,
    *,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.nn.LSTMCell's weights [4H, D], [4H, H] and biases [4H] -> [D+H, 4H] of `dtype` and [4H] float32."""
    weight = torch.cat([weight_ih, weight_hh], dim=1).t()
    return weight.to(dtype).contiguous(), (bias_ih + bias_hh).float()
