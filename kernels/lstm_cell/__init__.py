"""One LSTM step for a search's value prefix: one matrix product and a pointwise kernel.

    i, f, g, o = [x, h] weight + bias          c' = sigmoid(f) c + sigmoid(i) tanh(g)          h' = sigmoid(o) tanh(c')

(Hochreiter and Schmidhuber 1997; gates in torch's order.) The head reads h' as `output`; the stored state is zero if
the leaf's depth is a multiple of the prefix horizon (`reset`), which restarts its children's value prefix. With `node`
the state is written to the search's states of all nodes, at the node whose number is in device memory. Called by
inference on the GPU.

Axes: B rows, D inputs, H hidden units, N nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.backend import uses_triton
from kernels.lstm_cell import reference


@dataclass(frozen=True)
class LSTMStep:
    """A step's results. Without resets and nodes `output` and `h` are the same tensor."""

    output: torch.Tensor  # [B, H] float32 or bfloat16: h', whether or not the row is reset
    h: torch.Tensor  # [B, H] or [N, B, H] float32 or bfloat16: the stored state
    c: torch.Tensor  # the same in float32


def lstm_cell(
    x: torch.Tensor,
    h: torch.Tensor,
    c: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    reset: torch.Tensor | None = None,
    out: LSTMStep | None = None,
    backend: str = "auto",
) -> LSTMStep:
    """A whole step.

    x: [B, D], h: [B, H], weight: [D+H, 4H], all of one type, float32 or bfloat16; c: [B, H] and bias: [4H], float32;
    reset: [B] bool. weight, bias: from `pack_weights`. Raises ValueError for mismatched shapes.
    """
    joined = torch.cat([x, h], dim=1)
    if joined.shape[1] != weight.shape[0]:
        raise ValueError(f"x and h have {joined.shape[1]} columns, weight has {weight.shape[0]} rows")
    return lstm_pointwise(joined @ weight, bias, c, reset=reset, out=out, backend=backend)


def lstm_pointwise(
    gates: torch.Tensor,
    bias: torch.Tensor,
    c: torch.Tensor,
    *,
    reset: torch.Tensor | None = None,
    out: LSTMStep | None = None,
    node: torch.Tensor | None = None,
    backend: str = "auto",
) -> LSTMStep:
    """The step after the matrix product. gates: [B, 4H], float32 or bfloat16, without the bias.

    node: [1] int64, if out.h and out.c are [N, B, H].
    Raises ValueError for mismatched shapes or types.
    """
    batch, hidden = c.shape
    if gates.shape != (batch, 4 * hidden) or bias.shape != (4 * hidden,):
        raise ValueError(
            f"c is {[batch, hidden]}: gates {list(gates.shape)} must be [B, 4H], bias {list(bias.shape)} [4H]"
        )
    if c.dtype != torch.float32 or bias.dtype != torch.float32:
        raise ValueError(f"c and bias must be float32, are {c.dtype} and {bias.dtype}")
    if gates.numel() >= 2**31:
        raise ValueError(f"{gates.numel()} gates are 2^31 or more")
    if out is None:
        output = gates.new_empty(batch, hidden)
        out = LSTMStep(output, output if reset is None else torch.empty_like(output), torch.empty_like(c))
    if reset is None and node is None and out.h is not out.output:
        raise ValueError("without resets out.h is out.output")
    if node is not None and (node.shape != (1,) or node.dtype != torch.int64):
        raise ValueError(f"node is {list(node.shape)} {node.dtype}, must be [1] torch.int64")
    kept_shape = c.shape if node is None else (out.c.shape[0], *c.shape)
    for tensor, shape in ((out.output, c.shape), (out.h, kept_shape), (out.c, kept_shape)):
        if tensor.shape != shape or not tensor.is_contiguous():
            raise ValueError(f"out must be contiguous {list(shape)}, has {list(tensor.shape)}")
    if uses_triton(gates, backend):
        from kernels.lstm_cell import triton_gpu

        triton_gpu.lstm_pointwise(gates.contiguous(), bias, c.contiguous(), reset, out, node)
    else:
        reference.lstm_pointwise(gates, bias, c, reset, out, node)
    return out


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
