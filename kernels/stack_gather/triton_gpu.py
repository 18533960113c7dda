"""stack_gather and augment_draws on the GPU.

A program of stack_gather writes BLOCK_PIXELS pixels of one sample, all channels of all frames; it finds the sample's
stack itself with a few dependent one-byte loads.

Axes: B samples, E lanes, T rows, H W image, C channels of a frame.
"""

import torch
import triton
import triton.language as tl

from kernels.stack_gather.reference import GOLDEN, MIX_1, MIX_2

BLOCK_PIXELS = 256
NUM_WARPS = 4
BLOCK_SAMPLES = 128
_GOLDEN: tl.constexpr = tl.constexpr(GOLDEN)
_MIX_1: tl.constexpr = tl.constexpr(MIX_1)
_MIX_2: tl.constexpr = tl.constexpr(MIX_2)


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
    """See the package's docstring."""
    _, num_rows, height, width, channels = frames.shape
    blocks = triton.cdiv(height * width, BLOCK_PIXELS)
    stack_gather_kernel[(lane.shape[0] * blocks,)](
        frames, first, lane, step, lane if shift is None else shift, lane if scale is None else scale, out, num_rows,
        HEIGHT=height, WIDTH=width, CHANNELS=channels, STACK=stack, SKIP=skip, FRAMES=stack + following - skip,
        OUT_CHANNELS=out.shape[1], BLOCK_CHANNELS=triton.next_power_of_2(out.shape[1]),
        HAS_SHIFT=shift is not None, HAS_SCALE=scale is not None,
        BLOCKS=blocks, BLOCK_PIXELS=BLOCK_PIXELS, num_warps=NUM_WARPS,
    )  # fmt: skip


def augment_draws(
    train_step: torch.Tensor,
    shift: torch.Tensor,
    scale: torch.Tensor,
    *,
    seed: int,
    stream: int,
    view: int,
    first_sample: int,
    shift_px: int,
    intensity_scale: float,
) -> None:
    """See the package's docstring."""
    samples = scale.shape[0]
    augment_draws_kernel[(triton.cdiv(samples, BLOCK_SAMPLES),)](
        train_step, shift, scale, samples, seed, stream, view, first_sample, intensity_scale,
        SHIFT_PX=shift_px, BLOCK_SAMPLES=BLOCK_SAMPLES, num_warps=NUM_WARPS,
    )  # fmt: skip


@triton.jit
def stack_gather_kernel(
    frames, first, lane, step, shift, scale, out, num_rows,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr,
    STACK: tl.constexpr, SKIP: tl.constexpr, FRAMES: tl.constexpr,
    OUT_CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
    HAS_SHIFT: tl.constexpr, HAS_SCALE: tl.constexpr, BLOCKS: tl.constexpr, BLOCK_PIXELS: tl.constexpr,
):  # fmt: skip
    sample = (tl.program_id(0) // BLOCKS).to(tl.int64)
    lane_start = tl.load(lane + sample) * num_rows  # int64, as all below: the frames may exceed 2^31 bytes
    row = tl.load(step + sample) % num_rows

    channel = tl.arange(0, BLOCK_CHANNELS)
    frame = SKIP + channel // CHANNELS  # of the window: the stack, then the frames after it
    source = row + (frame - (STACK - 1))
    source = tl.where(source >= num_rows, source - num_rows, source)
    for back in tl.static_range(STACK - SKIP):
        source = tl.where(frame == STACK - 1 - back, row, source)
        begins = tl.load(first + lane_start + row) != 0
        before = tl.where(row == 0, num_rows - 1, row - 1)
        row = tl.where(begins, row, before)

    pixel = (tl.program_id(0) % BLOCKS) * BLOCK_PIXELS + tl.arange(0, BLOCK_PIXELS)
    is_pixel = pixel < HEIGHT * WIDTH
    y, x = pixel // WIDTH, pixel % WIDTH
    if HAS_SHIFT:
        y = tl.minimum(tl.maximum(y + tl.load(shift + 2 * sample), 0), HEIGHT - 1)
        x = tl.minimum(tl.maximum(x + tl.load(shift + 2 * sample + 1), 0), WIDTH - 1)
    factor = tl.full([], 1.0 / 255.0, tl.float32)
    if HAS_SCALE:
        factor *= tl.load(scale + sample)

    place = (lane_start + source) * (HEIGHT * WIDTH * CHANNELS) + channel % CHANNELS
    address = frames + place[None, :] + ((y * WIDTH + x) * CHANNELS)[:, None]
    stored = tl.load(address, is_pixel[:, None] & (channel < FRAMES * CHANNELS)[None, :], 0)
    target = out + (sample * (HEIGHT * WIDTH) + pixel[:, None]) * OUT_CHANNELS + channel[None, :]
    value = (stored.to(tl.float32) * factor).to(out.dtype.element_ty)
    tl.store(target, value, is_pixel[:, None] & (channel < OUT_CHANNELS)[None, :])


@triton.jit(do_not_specialize=["samples", "seed", "stream", "view", "first_sample"])
def augment_draws_kernel(
    train_step, shift, scale, samples, seed, stream, view, first_sample, intensity_scale,
    SHIFT_PX: tl.constexpr, BLOCK_SAMPLES: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_SAMPLES + tl.arange(0, BLOCK_SAMPLES)
    is_row = row < samples
    key = _absorb(tl.zeros([BLOCK_SAMPLES], tl.uint64), seed)
    key = _absorb(key, stream)
    key = _absorb(key, tl.load(train_step))
    key = _absorb(key, view)
    key = _absorb(key, first_sample + row)
    span: tl.constexpr = 2 * SHIFT_PX + 1
    dy = tl.minimum((_draw(key, 0) * span).to(tl.int32), span - 1) - SHIFT_PX
    dx = tl.minimum((_draw(key, 1) * span).to(tl.int32), span - 1) - SHIFT_PX
    tl.store(shift + 2 * row, dy, is_row)
    tl.store(shift + 2 * row + 1, dx, is_row)
    radius = tl.sqrt(-2.0 * tl.log(_draw(key, 2)))
    normal = radius * tl.cos(6.283185307179586 * _draw(key, 3))
    tl.store(scale + row, 1.0 + intensity_scale * tl.minimum(tl.maximum(normal, -2.0), 2.0), is_row)


@triton.jit
def _absorb(state, key):
    """SplitMix64's finaliser over state and key."""
    x = (state ^ key.to(tl.int64).to(tl.uint64)) + _GOLDEN
    x = (x ^ (x >> 30)) * _MIX_1
    x = (x ^ (x >> 27)) * _MIX_2
    return x ^ (x >> 31)


@triton.jit
def _draw(key, column: tl.constexpr):
    """Draw number `column` of a key, a float32 in [0, 1]."""
    bits = _absorb(key, tl.full([], column, tl.int64))
    return (((bits >> 12).to(tl.float64) + 0.5) * (1.0 / 4503599627370496.0)).to(tl.float32)
