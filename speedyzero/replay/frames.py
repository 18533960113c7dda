"""Turns stored frames into network inputs: the interface, and its implementation on the host.

    HostFrames     gathers on the host, moves to the device, shifts and scales there
    DeviceMirror   (`device_mirror.py`) frames are on the device already: one kernel does it all

Used by the learner for its batches (`learner/batch.py`) and by the reanalyzer for its searches. Selected by
`device_mirror.frame_sources`.

Axes: B positions, S stacked frames, K unroll steps, F frames of a window, C channels of a frame, H W image, D features.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from kernels.stack_gather import stack_gather
from speedyzero.model.observation import to_network_input
from speedyzero.replay.shard import Shard


@dataclass(frozen=True)
class Augmentation:
    """How each position's frames are changed, all in the same way. On the device."""

    shift: torch.Tensor | None  # [B, 2] int32: output pixel (y, x) shows stored pixel (y + shift 0, x + shift 1)
    scale: torch.Tensor | None  # [B] float32: brightness

    def part(self, rows: slice) -> Augmentation:
        """The augmentation of some positions."""
        return Augmentation(
            None if self.shift is None else self.shift[rows].contiguous(),
            None if self.scale is None else self.scale[rows].contiguous(),
        )


UNCHANGED = Augmentation(shift=None, scale=None)


@dataclass(frozen=True)
class GatheredStacks:
    """Network inputs at positions and at the K states after them. C may be zero-padded."""

    root: torch.Tensor  # [B, S*C, H, W], channels last, or [B, S*D]: the stack at the position
    following: tuple[torch.Tensor, ...]  # K stacks like `root`: after each action, for every n-th position


class FrameSource(Protocol):
    """A shard's frames for the networks of one device. lane, step: [B] int64, of committed rows."""

    def stacks(self, lane: np.ndarray, step: np.ndarray) -> torch.Tensor:
        """Stacked observations, [B, S*C, H, W], channels last, or [B, S*D]."""
        ...

    def unrolled(
        self,
        lane: np.ndarray,
        step: np.ndarray,
        *,
        unroll_steps: int,
        root: Augmentation | None,
        following: Augmentation | None,
        every: int = 1,
    ) -> GatheredStacks:
        """Stacks at the positions and after each of the next K actions, each view with its own augmentation, if any.

        every: stacks after actions only for every n-th position, as `following`, [B / n, ...].

        Frames past an episode's end are those that follow in the lane; the loss masks them.
        """
        ...


class HostFrames:
    """Frames gathered from host memory. float32."""

    def __init__(self, shard: Shard, device: torch.device):
        self._shard, self._device = shard, device
        self._in_place = shard.shape.spec.is_image and device.type == "cpu"
        if self._in_place:
            with warnings.catch_warnings():  # torch warns that a reader's arrays are not writable
                warnings.simplefilter("ignore", UserWarning)
                self._frame, self._first = torch.from_numpy(shard.frame), torch.from_numpy(shard.first)

    def stacks(self, lane: np.ndarray, step: np.ndarray) -> torch.Tensor:
        if self._in_place:
            return self._gather(lane, step, following=0, augmentation=None)
        return to_network_input(self._on_device(self._shard.gather_stacks(lane, step)))

    def unrolled(
        self,
        lane: np.ndarray,
        step: np.ndarray,
        *,
        unroll_steps: int,
        root: Augmentation | None,
        following: Augmentation | None,
        every: int = 1,
    ) -> GatheredStacks:
        if self._in_place:
            fewer = lane[::every].copy(), step[::every].copy()
            return GatheredStacks(
                self._gather(lane, step, following=0, augmentation=root),
                tuple(self._gather(*fewer, following=j + 1, augmentation=following) for j in range(unroll_steps)),
            )
        stack = self._shard.stack
        window = self._on_device(self._shard.gather_windows(lane, step, unroll_steps=unroll_steps))  # [B, S+K, ...]
        stacks: tuple[torch.Tensor, ...] = ()
        if unroll_steps:
            after = augmented(window[::every, 1:], following)
            width = after.shape[1] // (stack + unroll_steps - 1)  # channels (or features) of one frame
            stacks = tuple(after[:, j * width : (j + stack) * width] for j in range(unroll_steps))
        return GatheredStacks(augmented(window[:, :stack], root), stacks)

    def _gather(
        self, lane: np.ndarray, step: np.ndarray, *, following: int, augmentation: Augmentation | None
    ) -> torch.Tensor:
        """The stack of unrolled state `following`, from the shard's own memory."""
        how = augmentation or UNCHANGED
        return stack_gather(
            self._frame, self._first, torch.from_numpy(lane), torch.from_numpy(step),
            stack=self._shard.stack, following=following, skip=following, shift=how.shift, scale=how.scale,
        )  # fmt: skip

    def _on_device(self, frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(frames).to(self._device)


def augmented(window: torch.Tensor, how: Augmentation | None) -> torch.Tensor:
    """[B, F, H, W, C] uint8 -> [B, F*C, H, W] float32, channels last; [B, F, D] float32 -> [B, F*D], unchanged."""
    how = how or UNCHANGED
    return to_network_input(window, shift=how.shift, scale=how.scale)
