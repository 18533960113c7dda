"""stack_gather on the CPU: one pass over the pixels, without intermediate copies."""

import numba
import numpy as np
import torch

_INVERSE_255 = np.float32(1.0 / 255.0)


def stack_gather(
    frames: torch.Tensor,
    first: torch.Tensor,
    lane: torch.Tensor,
    step: torch.Tensor,
    shift: torch.Tensor | None,
    scale: torch.Tensor | None,
    out: torch.Tensor,
    *,
    stack: int,
    following: int,
    skip: int,
) -> None:
    """See the package's docstring. out: float32."""
    batch = lane.shape[0]
    shifts = np.zeros((batch, 2), np.int32) if shift is None else shift.numpy()
    factors = np.full(batch, _INVERSE_255) if scale is None else _INVERSE_255 * scale.numpy()
    pixels = out.permute(0, 2, 3, 1).numpy()
    _gather(
        frames.numpy(), first.numpy(), lane.numpy(), step.numpy(), shifts, factors, pixels,
        stack, following, skip, shift is not None,
    )  # fmt: skip


@numba.njit(cache=True, error_model="numpy")
def _gather(frames, first, lane, step, shifts, factors, out, stack, following, skip, has_shift):
    num_rows, channels = frames.shape[1], frames.shape[4]
    batch, height, width, out_channels = out.shape
    used = (stack + following - skip) * channels
    rows = np.empty(stack + following, np.int64)
    for b in range(batch):
        row = step[b] % num_rows
        for k in range(following):
            rows[stack + k] = (row + k + 1) % num_rows
        for k in range(stack - 1, -1, -1):
            rows[k] = row
            if not first[lane[b], row]:
                row = (row - 1) % num_rows
        for k in range(skip, stack + following):
            source, channel = frames[lane[b], rows[k]], (k - skip) * channels
            if has_shift:
                _copy_shifted(source, out[b], channel, factors[b], shifts[b, 0], shifts[b, 1])
            else:
                _copy(source, out[b], channel, factors[b])
        if used < out_channels:
            out[b, :, :, used:] = np.float32(0.0)


@numba.njit(cache=True, error_model="numpy")
def _copy(source, target, first_channel, factor):
    """source: [H, W, C] uint8; target: [H, W, F]."""
    height, width, channels = source.shape
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                target[y, x, first_channel + c] = np.float32(source[y, x, c]) * factor


@numba.njit(cache=True, error_model="numpy")
def _copy_shifted(source, target, first_channel, factor, dy, dx):
    """As `_copy`, shifted by whole pixels with replicated edges."""
    height, width, channels = source.shape
    for c in range(channels):
        for y in range(height):
            from_y = min(max(y + dy, 0), height - 1)
            for x in range(width):
                from_x = min(max(x + dx, 0), width - 1)
                target[y, x, first_channel + c] = np.float32(source[from_y, from_x, c]) * factor
