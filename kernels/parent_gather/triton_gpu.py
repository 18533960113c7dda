"""parent_gather on the GPU: one program per root copies its image, border included, and its rows of h and c.

Axes: B roots, N nodes, C channels, G grid, H hidden units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl

from kernels.conv3x3_latent.layout import image_rows, margin_rows

if TYPE_CHECKING:
    from kernels.parent_gather import States

BLOCK = 1024
NUM_WARPS = 4


def parent_gather(nodes: States, parent_row: torch.Tensor, out: States, *, batch: int, grid: int) -> None:
    """See the package's docstring."""
    latent, row_count = nodes.latent, nodes.latent.shape[1]
    h, c, h_out, c_out = nodes.h, nodes.c, out.h, out.c
    has_hidden = h is not None and h_out is not None
    parent_gather_kernel[(batch,)](
        parent_row, latent, out.latent,
        h if has_hidden else latent, h_out if has_hidden else latent,
        c if has_hidden else latent, c_out if has_hidden else latent,
        batch, row_count,
        CHANNELS=latent.shape[2], MARGIN=margin_rows(grid), IMAGE=image_rows(grid),
        HIDDEN=h.shape[2] if h is not None else 0, H_STRIDE=h_out.stride(0) if h_out is not None else 0,
        BLOCK=BLOCK, num_warps=NUM_WARPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["batch", "row_count"])
def parent_gather_kernel(
    parent_row, latent, latent_out, h, h_out, c, c_out, batch, row_count,
    CHANNELS: tl.constexpr, MARGIN: tl.constexpr, IMAGE: tl.constexpr, HIDDEN: tl.constexpr, H_STRIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """row_count: R, the rows of a node's latents. HIDDEN: 0 without h and c."""
    root = tl.program_id(0).to(tl.int64)
    row = tl.load(parent_row + root)
    # CHANNELS is multiplied last, so that the compiler can infer alignment.
    source = latent + ((row // batch) * row_count + MARGIN + (row % batch) * IMAGE) * CHANNELS
    _copy(source, latent_out + (MARGIN + root * IMAGE) * CHANNELS, IMAGE * CHANNELS, BLOCK)
    if HIDDEN > 0:
        _copy(h + row * HIDDEN, h_out + root * H_STRIDE, HIDDEN, BLOCK)
        _copy(c + row * HIDDEN, c_out + root * HIDDEN, HIDDEN, BLOCK)


@triton.jit
def _copy(source, target, count: tl.constexpr, BLOCK: tl.constexpr):
    for start in range(0, count, BLOCK):
        number = start + tl.arange(0, BLOCK)
        is_number = number < count
        tl.store(target + number, tl.load(source + number, is_number), is_number)
