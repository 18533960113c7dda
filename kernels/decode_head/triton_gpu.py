"""decode_head on the GPU: each program computes an online softmax of BLOCK_ROWS rows in one pass over the bins.

Axes: B rows, K hidden units, N bins.
"""

import torch
import triton
import triton.language as tl

from kernels.decode_head.reference import EPSILON

BLOCK_ROWS = 16
BLOCK_BINS = 128
NUM_WARPS = 4
_LOWEST: tl.constexpr = tl.constexpr(-3.4e38)  # below every logit, but with a finite difference
_LINEAR: tl.constexpr = tl.constexpr(1.0 + 2.0 * EPSILON)
_LINEAR_SQUARED: tl.constexpr = tl.constexpr((1.0 + 2.0 * EPSILON) ** 2)
_FOUR_EPSILON: tl.constexpr = tl.constexpr(4.0 * EPSILON)


def decode_head(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, out: torch.Tensor, *, step: float
) -> None:
    """See the package's docstring."""
    batch, inputs = hidden.shape
    decode_head_kernel[(triton.cdiv(batch, BLOCK_ROWS),)](
        hidden, weight, bias, out, batch, step,
        INPUTS=inputs, BLOCK_INPUTS=max(16, triton.next_power_of_2(inputs)), BINS=weight.shape[0],
        BLOCK_ROWS=BLOCK_ROWS, BLOCK_BINS=BLOCK_BINS, num_warps=NUM_WARPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["batch"])
def decode_head_kernel(
    hidden, weight, bias, out, batch, step,
    INPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr, BINS: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_BINS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    is_row = row < batch
    unit = tl.arange(0, BLOCK_INPUTS)
    is_unit = unit < INPUTS
    inputs = tl.load(hidden + row[:, None] * INPUTS + unit[None, :], is_row[:, None] & is_unit[None, :], 0.0)
    # Products of two bf16 numbers are exact in float32; other types are multiplied in float32.
    both_bf16: tl.constexpr = hidden.dtype.element_ty == tl.bfloat16 and weight.dtype.element_ty == tl.bfloat16
    if not both_bf16:
        inputs = inputs.to(tl.float32)

    peak = tl.full([BLOCK_ROWS], _LOWEST, tl.float32)
    total = tl.zeros([BLOCK_ROWS], tl.float32)
    moment = tl.zeros([BLOCK_ROWS], tl.float32)
    for start in range(0, BINS, BLOCK_BINS):
        bin = start + tl.arange(0, BLOCK_BINS)
        is_bin = bin < BINS
        columns = tl.load(weight + bin[None, :] * INPUTS + unit[:, None], is_bin[None, :] & is_unit[:, None], 0.0)
        if not both_bf16:
            columns = columns.to(tl.float32)
        offset = tl.load(bias + bin, is_bin, 0.0).to(tl.float32)
        logits = tl.dot(inputs, columns, input_precision="ieee") + offset[None, :]
        peak, total, moment = _absorb_bins(logits, bin, is_bin, BINS // 2, peak, total, moment)
    tl.store(out + row, _unsquash(moment / total * step), is_row)


@triton.jit
def _absorb_bins(logits, bin, is_bin, middle: tl.constexpr, peak, total, moment):
    """Add a block of bins to the online softmax: its peak, sum of exponentials, and their moment, in bins.

    A NaN among the logits reaches total and moment through exp.
    """
    logits = tl.where(is_bin[None, :], logits, float("-inf"))
    new_peak = tl.maximum(peak, tl.max(logits, 1))
    kept = tl.exp(peak - new_peak)
    share = tl.exp(logits - new_peak[:, None])
    distance = (bin - middle).to(tl.float32)
    return new_peak, total * kept + tl.sum(share, 1), moment * kept + tl.sum(share * distance[None, :], 1)


@triton.jit
def _unsquash(y):
    magnitude = tl.abs(y)
    u = 2.0 * magnitude / (tl.sqrt(magnitude * _FOUR_EPSILON + _LINEAR_SQUARED) + _LINEAR)
    x = u * (u + 2.0)
    return tl.where(y < 0.0, -x, x)
