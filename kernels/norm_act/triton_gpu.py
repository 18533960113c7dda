"""norm_act on the GPU: two passes over memory forward, two backward, deterministic.

    forward   statistics_kernel  per program: mean and squared deviations of its rows, tile by tile
              combine_kernel     over programs: mean, 1/sqrt(var + eps), the running statistics
              apply_kernel       y
    backward  reduce_kernel      per program: sums over its rows of g and g xhat, g = dy where y > 0
              a sum over the programs: dbias, dweight
              gradient_kernel    dx = weight rstd (g - dbias/N - xhat dweight/N), dresidual = g

Deviations are from each tile's own mean; tiles and programs are merged as in Chan, Golub and LeVeque (1979): as exact
as two passes over x, with one. The backward pass keeps x and y, which neighbouring layers keep anyway, and two numbers
per channel; the ReLU's mask is derived from y.

Axes: N rows, C channels, P programs that share the rows.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

TILE = 4096  # numbers per tile
MOST_CHANNELS = 64  # per tile
MOST_PARTS = 512  # programs that share the rows: about four per multiprocessor
BLOCK_PARTS = 64
COMBINED_CHANNELS = 16
NUM_WARPS = 4


class NormAct(torch.autograd.Function):
    """See the package's docstring."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        running_mean: torch.Tensor,
        running_var: torch.Tensor,
        residual: torch.Tensor | None,
        eps: float,
        momentum: float,
    ) -> torch.Tensor:
        x = _as_rows(x)
        shared = Sharing.of(x)
        partial_mean, partial_m2 = (x.new_empty(shared.parts, shared.channels, dtype=torch.float32) for _ in range(2))
        mean, rstd = (torch.empty_like(weight) for _ in range(2))
        statistics_kernel[shared.grid](x, partial_mean, partial_m2, shared.rows, **shared.constants)
        combine_kernel[(triton.cdiv(shared.channels, COMBINED_CHANNELS),)](
            partial_mean, partial_m2, mean, rstd, running_mean, running_var, shared.rows, shared.parts, eps, momentum,
            CHANNELS=shared.channels, ROWS_EACH=shared.rows_each,
            BLOCK_PARTS=BLOCK_PARTS, BLOCK_CHANNELS=COMBINED_CHANNELS, num_warps=NUM_WARPS,
        )  # fmt: skip
        y = torch.empty_like(x)
        added = x if residual is None else _as_rows(residual)
        apply_kernel[shared.tile_grid](
            x, added, mean, rstd, weight, bias, y, shared.rows,
            HAS_RESIDUAL=residual is not None, **shared.tile_constants,
        )  # fmt: skip
        ctx.save_for_backward(x, y, mean, rstd, weight)
        ctx.has_residual = residual is not None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, y, mean, rstd, weight = ctx.saved_tensors
        dy = _as_rows(gradients[0])
        shared = Sharing.of(x)
        partial = x.new_empty(2, shared.parts, shared.channels, dtype=torch.float32)
        reduce_kernel[shared.grid](x, y, dy, mean, rstd, partial, shared.rows, shared.parts, **shared.constants)
        sums = partial.sum(1)  # [2, C]: dbias, dweight
        dx = torch.empty_like(x)
        dresidual = torch.empty_like(x) if ctx.has_residual else None
        gradient_kernel[shared.tile_grid](
            x, y, dy, mean, rstd, weight, sums, dx, dx if dresidual is None else dresidual, shared.rows,
            HAS_RESIDUAL=ctx.has_residual, **shared.tile_constants,
        )  # fmt: skip
        return dx, sums[1], sums[0], None, None, dresidual, None, None


class Sharing:
    """How the rows of a tensor are divided into tiles, and the tiles among programs."""

    def __init__(self, rows: int, channels: int):
        self.rows, self.channels = rows, channels
        block_channels = min(MOST_CHANNELS, triton.next_power_of_2(channels))
        block_rows = min(TILE // block_channels, max(16, triton.next_power_of_2(rows)))
        tiles = triton.cdiv(rows, block_rows)
        tiles_each = triton.next_power_of_2(triton.cdiv(tiles, MOST_PARTS))  # few values, as each is compiled
        self.rows_each = tiles_each * block_rows
        self.parts = triton.cdiv(tiles, tiles_each)
        columns = triton.cdiv(channels, block_channels)
        self.grid, self.tile_grid = (self.parts, columns), (tiles, columns)
        self.tile_constants: dict[str, Any] = {
            "CHANNELS": channels, "BLOCK_ROWS": block_rows, "BLOCK_CHANNELS": block_channels, "num_warps": NUM_WARPS,
        }  # fmt: skip
        self.constants = {**self.tile_constants, "TILES": tiles_each}

    @staticmethod
    def of(x: torch.Tensor) -> Sharing:
        return Sharing(x.numel() // x.shape[1], x.shape[1])


def _as_rows(tensor: torch.Tensor) -> torch.Tensor:
    """With channels last in memory; copies only if necessary."""
    if tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor.contiguous()


@triton.jit
def tile_places(tile, rows, CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr):
    """Offsets of a tile's numbers, and which of them exist. 64-bit: rows x channels may exceed 2^31."""
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    row = tile.to(tl.int64) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    place = row[:, None] * CHANNELS + channel[None, :]
    return place, (row < rows)[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def of_channels(tensor, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr):
    """One number for each of this program's channels."""
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    return tl.load(tensor + channel, channel < CHANNELS, 0.0)


@triton.jit
def statistics_kernel(
    x, mean_out, m2_out, rows,
    CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    # Relative to the first row: sums of numbers far from 0 would lose the digits in which they differ.
    first = x + part.to(tl.int64) * TILES * BLOCK_ROWS * CHANNELS + channel
    origin = tl.load(first, channel < CHANNELS, 0.0).to(tl.float32)
    mean = tl.zeros([BLOCK_CHANNELS], tl.float32)
    m2 = tl.zeros([BLOCK_CHANNELS], tl.float32)
    count = 0.0
    for tile in range(TILES):
        number = part * TILES + tile
        place, is_there = tile_places(number, rows, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS)
        value = tl.load(x + place, is_there, 0.0).to(tl.float32) - origin[None, :]
        value = tl.where(is_there, value, 0.0)
        here = tl.minimum(tl.maximum(rows - number * BLOCK_ROWS, 0), BLOCK_ROWS).to(tl.float32)
        tile_mean = tl.sum(value, 0) / tl.maximum(here, 1.0)
        deviation = tl.where(is_there, value - tile_mean[None, :], 0.0)
        total = count + here
        delta = tile_mean - mean
        share = here / tl.maximum(total, 1.0)
        mean += delta * share
        m2 += tl.sum(deviation * deviation, 0) + delta * delta * count * share
        count = total
    tl.store(mean_out + part * CHANNELS + channel, origin + mean, channel < CHANNELS)
    tl.store(m2_out + part * CHANNELS + channel, m2, channel < CHANNELS)


@triton.jit(do_not_specialize=["rows", "parts"])
def combine_kernel(
    partial_mean, partial_m2, mean_out, rstd_out, running_mean, running_var, rows, parts, eps, momentum,
    CHANNELS: tl.constexpr, ROWS_EACH: tl.constexpr, BLOCK_PARTS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    channel = tl.program_id(0) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    is_channel = channel < CHANNELS
    row_count = rows.to(tl.float32)
    weighed = tl.zeros([BLOCK_CHANNELS], tl.float32)
    for first in range(0, parts, BLOCK_PARTS):
        part = first + tl.arange(0, BLOCK_PARTS)
        is_part = (part < parts)[:, None] & is_channel[None, :]
        here = tl.minimum(tl.maximum(rows - part * ROWS_EACH, 0), ROWS_EACH).to(tl.float32)
        part_mean = tl.load(partial_mean + part[:, None] * CHANNELS + channel[None, :], is_part, 0.0)
        weighed += tl.sum(part_mean * (here / row_count)[:, None], 0)
    m2 = tl.zeros([BLOCK_CHANNELS], tl.float32)
    for first in range(0, parts, BLOCK_PARTS):
        part = first + tl.arange(0, BLOCK_PARTS)
        is_part = (part < parts)[:, None] & is_channel[None, :]
        here = tl.minimum(tl.maximum(rows - part * ROWS_EACH, 0), ROWS_EACH).to(tl.float32)
        place = part[:, None] * CHANNELS + channel[None, :]
        delta = tl.load(partial_mean + place, is_part, 0.0) - weighed[None, :]
        inside = tl.load(partial_m2 + place, is_part, 0.0)
        m2 += tl.sum(tl.where(is_part, inside + delta * delta * here[:, None], 0.0), 0)
    tl.store(mean_out + channel, weighed, is_channel)
    tl.store(rstd_out + channel, 1.0 / tl.sqrt(m2 / row_count + eps), is_channel)
    before = tl.load(running_mean + channel, is_channel, 0.0)
    tl.store(running_mean + channel, before + momentum * (weighed - before), is_channel)
    before = tl.load(running_var + channel, is_channel, 0.0)
    tl.store(running_var + channel, before + momentum * (m2 / (row_count - 1.0) - before), is_channel)


@triton.jit
def apply_kernel(
    x, residual, mean, rstd, weight, bias, y, rows,
    CHANNELS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    place, is_there = tile_places(tl.program_id(0), rows, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS)
    scale = of_channels(rstd, CHANNELS, BLOCK_CHANNELS) * of_channels(weight, CHANNELS, BLOCK_CHANNELS)
    centred = tl.load(x + place, is_there, 0.0).to(tl.float32) - of_channels(mean, CHANNELS, BLOCK_CHANNELS)[None, :]
    value = centred * scale[None, :] + of_channels(bias, CHANNELS, BLOCK_CHANNELS)[None, :]
    if HAS_RESIDUAL:
        value += tl.load(residual + place, is_there, 0.0).to(tl.float32)
    value = tl.where(value < 0.0, 0.0, value)  # tl.maximum would turn NaN into 0
    tl.store(y + place, value.to(y.dtype.element_ty), is_there)


@triton.jit
def passed(dy, y, place, is_there):
    """The gradient before the ReLU, float32, 0 outside of the tensor."""
    output = tl.load(y + place, is_there, 0.0).to(tl.float32)
    gradient = tl.load(dy + place, is_there, 0.0).to(tl.float32)
    return tl.where(output <= 0.0, 0.0, gradient)


@triton.jit
def normed(x, mean, rstd, place, is_there, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr):
    """xhat."""
    centred = tl.load(x + place, is_there, 0.0).to(tl.float32) - of_channels(mean, CHANNELS, BLOCK_CHANNELS)[None, :]
    return centred * of_channels(rstd, CHANNELS, BLOCK_CHANNELS)[None, :]


@triton.jit(do_not_specialize=["parts"])
def reduce_kernel(
    x, y, dy, mean, rstd, sums, rows, parts,
    CHANNELS: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    dbias = tl.zeros([BLOCK_CHANNELS], tl.float32)
    dweight = tl.zeros([BLOCK_CHANNELS], tl.float32)
    for tile in range(TILES):
        place, is_there = tile_places(part * TILES + tile, rows, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS)
        gradient = passed(dy, y, place, is_there)
        dbias += tl.sum(gradient, 0)
        dweight += tl.sum(gradient * normed(x, mean, rstd, place, is_there, CHANNELS, BLOCK_CHANNELS), 0)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    tl.store(sums + part * CHANNELS + channel, dbias, channel < CHANNELS)
    tl.store(sums + (parts + part) * CHANNELS + channel, dweight, channel < CHANNELS)


@triton.jit
def gradient_kernel(
    x, y, dy, mean, rstd, weight, sums, dx, dresidual, rows,
    CHANNELS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    place, is_there = tile_places(tl.program_id(0), rows, CHANNELS, BLOCK_ROWS, BLOCK_CHANNELS)
    gradient = passed(dy, y, place, is_there)
    if HAS_RESIDUAL:
        tl.store(dresidual + place, gradient.to(dresidual.dtype.element_ty), is_there)
    row_count = rows.to(tl.float32)
    dbias = of_channels(sums, CHANNELS, BLOCK_CHANNELS) / row_count
    dweight = of_channels(sums + CHANNELS, CHANNELS, BLOCK_CHANNELS) / row_count
    scale = of_channels(weight, CHANNELS, BLOCK_CHANNELS) * of_channels(rstd, CHANNELS, BLOCK_CHANNELS)
    xhat = normed(x, mean, rstd, place, is_there, CHANNELS, BLOCK_CHANNELS)
    value = (gradient - dbias[None, :] - xhat * dweight[None, :]) * scale[None, :]
    tl.store(dx + place, value.to(dx.dtype.element_ty), is_there)
