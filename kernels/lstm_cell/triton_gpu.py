"""lstm_pointwise on the GPU: each thread computes whole units, reading each gate and c once.

Axes: B rows, H hidden units, N nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from kernels.lstm_cell import LSTMStep

BLOCK = 512
NUM_WARPS = 4


def lstm_pointwise(
    gates: torch.Tensor,
    bias: torch.Tensor,
    c: torch.Tensor,
    reset: torch.Tensor,
    node: torch.Tensor,
    out: LSTMStep,
) -> None:
    """See the package's docstring."""
    units = c.numel()
    lstm_pointwise_kernel[(triton.cdiv(units, BLOCK),)](
        gates, bias, c, reset, node, out.output, out.h, out.c, units,
        HIDDEN=c.shape[1], BLOCK=BLOCK, num_warps=NUM_WARPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["units"])
def lstm_pointwise_kernel(
    gates, bias, c, reset, node, output, h_out, c_out, units, HIDDEN: tl.constexpr, BLOCK: tl.constexpr
):
    unit = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # row * H + hidden unit
    is_unit = unit < units
    row, hidden = unit // HIDDEN, unit % HIDDEN
    gate = gates + row * (4 * HIDDEN) + hidden
    into = tl.load(gate, is_unit, 0.0).to(tl.float32) + tl.load(bias + hidden)
    keep = tl.load(gate + HIDDEN, is_unit, 0.0).to(tl.float32) + tl.load(bias + hidden + HIDDEN)
    candidate = tl.load(gate + 2 * HIDDEN, is_unit, 0.0).to(tl.float32) + tl.load(bias + hidden + 2 * HIDDEN)
    expose = tl.load(gate + 3 * HIDDEN, is_unit, 0.0).to(tl.float32) + tl.load(bias + hidden + 3 * HIDDEN)
    before = tl.load(c + unit, is_unit, 0.0)

    following = _sigmoid(keep) * before + _sigmoid(into) * _tanh(candidate)
    exposed = _sigmoid(expose) * _tanh(following)
    tl.store(output + unit, exposed.to(output.dtype.element_ty), is_unit)
    is_reset = tl.load(reset + row, is_unit, 0) != 0
    # All nodes' units may be 2^31 or more. HIDDEN is multiplied last, for alignment inference.
    stored = tl.load(node) * (units // HIDDEN) * HIDDEN + unit
    tl.store(h_out + stored, tl.where(is_reset, 0.0, exposed).to(h_out.dtype.element_ty), is_unit)
    tl.store(c_out + stored, tl.where(is_reset, 0.0, following), is_unit)


@triton.jit
def _sigmoid(x):
    """Cannot overflow: exp of non-positive numbers only."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0.0, 1.0, e) / (1.0 + e)


@triton.jit
def _tanh(x):
    """Absolute error below 1e-7."""
    e = tl.exp(-2.0 * tl.abs(x))
    y = (1.0 - e) / (1.0 + e)
    return tl.where(x >= 0.0, y, -y)
