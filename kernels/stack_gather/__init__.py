"""Converts stored frames to a network's input in one pass over the pixels: stacked, shifted, scaled, channels last.

The frames of a position are its stack of S, oldest first, in which an episode's first frame repeats before its start,
and the K frames after it, without the first `skip`. Each frame is shifted by whole pixels with replicated edges and
multiplied by scale / 255; frames and colours become channels, padded with zeros. Frame stacking and augmentation are
EfficientZero's (Ye et al. 2021, App. A; after DrQ, Kostrikov et al. 2021). Called by the learner and the reanalyzer on
frames mirrored on the GPU or in host memory, and by agents.

`augment_draws` computes the shifts and scales of a train step on the device: counter-based random numbers, a function
of (seed, stream, train step, view, sample) by SplitMix64's finaliser. It is a separate launch of a few microseconds;
otherwise each of a sample's programs would repeat it.

Axes: B samples, E lanes, T rows, H W image, C channels of a frame, S stacked frames, K following frames.
"""

from dataclasses import dataclass

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.stack_gather import reference


@dataclass(frozen=True)
class AugmentDraws:
    shift: torch.Tensor  # [B, 2] int32: output pixel (y, x) shows stored pixel (y + shift 0, x + shift 1)
    scale: torch.Tensor  # [B] float32


def stack_gather(
    frames: torch.Tensor,
    first: torch.Tensor,
    lane: torch.Tensor,
    step: torch.Tensor,
    *,
    stack: int,
    following: int = 0,
    skip: int = 0,
    shift: torch.Tensor | None = None,
    scale: torch.Tensor | None = None,
    out_dtype: torch.dtype = torch.float32,
    pad_channels_to: int = 1,
    out: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """The frames [skip, S + K) of every position as channels.

    frames: [E, T, H, W, C] uint8, step t >= 0 of a lane at row t % T; first: [E, T] bool; lane, step: [B] int64;
    shift: [B, 2] int32; scale: [B] float32. For a root's stack: following 0; for unrolled state j: following j, skip j.

    Returns out: [B, (S+K-skip)*C, H, W] of out_dtype (float32 or bfloat16), channels last, the number of channels
    rounded up to a multiple of pad_channels_to. backend: auto (triton on a GPU, numba on the CPU for float32),
    reference, numba or triton. Raises ValueError for mismatched shapes or types.
    """
    batch, num_rows, (height, width, channels) = lane.shape[0], frames.shape[1], frames.shape[2:]
    used = (stack + following - skip) * channels
    out_channels = -(-used // pad_channels_to) * pad_channels_to
    if stack < 1 or following < 0 or not 0 <= skip < stack + following or stack + following > num_rows:
        raise ValueError(f"stack {stack}, following {following} and skip {skip} do not fit lanes of {num_rows} rows")
    if out is None:
        out = torch.empty((batch, height, width, out_channels), dtype=out_dtype, device=frames.device)
        out = out.permute(0, 3, 1, 2)
    if out.shape != (batch, out_channels, height, width) or not out.permute(0, 2, 3, 1).is_contiguous():
        raise ValueError(f"out is {list(out.shape)}, must be {[batch, out_channels, height, width]}, channels last")
    require("frames", frames, frames.shape, torch.uint8)
    require("first", first, frames.shape[:2], torch.bool)
    require("lane", lane, (batch,), torch.int64)
    require("step", step, (batch,), torch.int64)
    require("shift", shift, (batch, 2), torch.int32)
    require("scale", scale, (batch,), torch.float32)
    if backend == "auto" and frames.device.type == "cpu" and out.dtype == torch.float32:
        backend = "numba"
    if backend == "numba":
        from kernels.stack_gather.numba_cpu import stack_gather as run
    elif uses_triton(frames, backend):
        from kernels.stack_gather.triton_gpu import stack_gather as run
    else:
        run = reference.stack_gather
    run(frames, first, lane, step, shift, scale, out, stack=stack, following=following, skip=skip)
    return out


def augment_draws(
    train_step: torch.Tensor,
    *,
    batch: int,
    seed: int,
    stream: int,
    view: int,
    first_sample: int = 0,
    shift_px: int,
    intensity_scale: float,
    backend: str = "auto",
) -> AugmentDraws:
    """Shifts of up to shift_px pixels each way and scales 1 + intensity_scale * N(0, 1) clipped to [-2, 2].

    train_step: [1] int64, on the device, so that a captured graph reads each replay's step. Samples are numbered from
    first_sample.
    """
    require("train_step", train_step, (1,), torch.int64)
    draws = AugmentDraws(
        torch.empty((batch, 2), dtype=torch.int32, device=train_step.device),
        torch.empty(batch, device=train_step.device),
    )
    if uses_triton(train_step, backend):
        from kernels.stack_gather.triton_gpu import augment_draws as run
    else:
        run = reference.augment_draws
    run(
        train_step, draws.shift, draws.scale,
        seed=seed, stream=stream, view=view, first_sample=first_sample,
        shift_px=shift_px, intensity_scale=intensity_scale,
    )  # fmt: skip
    return draws
