"""conv3x3_latent on the GPU: nine products of shifted rows, summed in float32, and the epilogue, all in registers.

Axes: R rows (see layout.py), C channels, G grid, N nodes.
"""

import torch
import triton
import triton.language as tl

from kernels.card import Card
from kernels.conv3x3_latent.layout import image_rows
from kernels.conv3x3_latent.measured import measured_tile
from kernels.conv3x3_latent.tile import Tile


def conv3x3_latent(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    out: torch.Tensor,
    *,
    batch: int,
    grid: int,
    action: torch.Tensor | None,
    action_maps: torch.Tensor | None,
    residual: torch.Tensor | None,
    nodes: torch.Tensor | None,
    node: torch.Tensor | None,
    tile: Tile | None = None,
) -> None:
    """See the package's docstring. tile: None: `measured_tile`'s, which may raise ValueError."""
    tile = tile or measured_tile(rows.shape[1], rows.dtype, Card.of(rows.device), batch=batch)
    image_row_count = batch * image_rows(grid)
    conv3x3_latent_kernel[(triton.cdiv(image_row_count, tile.rows),)](
        rows, weight, bias,
        rows if action is None else action, bias if action_maps is None else action_maps,
        rows if residual is None else residual, out,
        out if nodes is None else nodes, rows if node is None else node, image_row_count, rows.shape[0],
        GRID=grid, CHANNELS=rows.shape[1], HAS_ACTION=action is not None, HAS_RESIDUAL=residual is not None,
        COMPACT=out.dim() == 4, HAS_NODES=nodes is not None, BLOCK_ROWS=tile.rows,
        num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip


@triton.jit(do_not_specialize=["image_row_count", "row_count"])
def conv3x3_latent_kernel(
    rows, weight, bias, action, action_maps, residual, out, nodes, node, image_row_count, row_count,
    GRID: tl.constexpr, CHANNELS: tl.constexpr, HAS_ACTION: tl.constexpr, HAS_RESIDUAL: tl.constexpr,
    COMPACT: tl.constexpr, HAS_NODES: tl.constexpr, BLOCK_ROWS: tl.constexpr,
):  # fmt: skip
    """row_count: R, the rows of a node's latents."""
    width: tl.constexpr = GRID + 1
    margin: tl.constexpr = GRID + 2
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)  # counted from the first image
    channel = tl.arange(0, CHANNELS)
    tile = (margin + row)[:, None] * CHANNELS + channel[None, :]
    taps = channel[:, None] * CHANNELS + channel[None, :]

    total = tl.zeros([BLOCK_ROWS, CHANNELS], tl.float32)
    for tap in tl.range(0, 9):
        offset = (tap // 3 - 1) * width + tap % 3 - 1
        pixels = tl.load(rows + tile + offset * CHANNELS)
        total = tl.dot(pixels, tl.load(weight + tap * CHANNELS * CHANNELS + taps), total, input_precision="ieee")

    image, cell = row // (width * width), row % (width * width)
    y, x = cell // width, cell % width
    is_image = row < image_row_count
    is_pixel = is_image & (y < GRID) & (x < GRID)
    pixel = y * GRID + x
    total += tl.load(bias + channel)[None, :]
    if HAS_ACTION:
        added = tl.load(action + image, is_pixel, 0) * (GRID * GRID) + pixel
        total += tl.load(action_maps + added[:, None] * CHANNELS + channel[None, :], is_pixel[:, None], 0.0)
    if HAS_RESIDUAL:
        total += tl.load(residual + tile).to(tl.float32)
    total = tl.where(total < 0.0, 0.0, total)  # as torch: NaN stays NaN
    if COMPACT:
        place = (image * (GRID * GRID) + pixel)[:, None] * CHANNELS + channel[None, :]
        tl.store(out + place, total.to(out.dtype.element_ty), is_pixel[:, None])
    else:
        total = tl.where(is_pixel[:, None], total, 0.0)
        tl.store(out + tile, total.to(out.dtype.element_ty), is_image[:, None])
        if HAS_NODES:  # one node's rows are fewer than 2^31 numbers, those of all nodes may not be
            kept = nodes + tl.load(node) * row_count * CHANNELS
            tl.store(kept + tile, total.to(nodes.dtype.element_ty), is_image[:, None])
