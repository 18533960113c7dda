"""Random draws of image augmentation: shift and brightness. EfficientZero, App. A (after DrQ, Kostrikov et al. 2021).

Each draw is a function of (seed, train step, view, sample). CPU and GPU draw the same shifts and, up to rounding, the
same brightness. The draws are applied in `replay/frames.py` and `kernels/stack_gather`.

Axes: B batch, F frames in the window (stack + unroll), H W image, C channels.
"""

import numpy as np
import torch

from kernels.stack_gather import augment_draws
from speedyzero.config import LearnerConfig
from speedyzero.replay.frames import Augmentation, augmented
from speedyzero.system import keyed_random


class Augment:
    """Draws one augmentation per sample and view, which applies to all its frames."""

    def __init__(self, config: LearnerConfig, *, seed: int, rank: int = 0):
        """rank: the learner's. Samples are numbered over the global batch, so ranks draw independently."""
        self._shift_px, self._intensity_scale = config.shift_px, config.intensity_scale
        self._seed, self._rank = seed, rank

    def __call__(self, window: torch.Tensor, *, train_step: int, view: int) -> torch.Tensor:
        """[B, F, H, W, C] uint8 -> [B, F*C, H, W] float32, channels last; [B, F, D] float32 -> [B, F*D]."""
        batch = window.shape[0]
        return augmented(window, self.draw(batch, train_step=train_step, view=view, device=window.device))

    def draw(self, batch: int, *, train_step: int, view: int, device: torch.device) -> Augmentation:
        """view: 0 for the root's stack, 1 for the consistency targets."""
        if device.type == "cuda":
            return self._draw_there(batch, train_step, view, device)
        sample = self._rank * batch + np.arange(batch)
        keys = keyed_random.keys(self._seed, keyed_random.AUGMENT, train_step, view, sample)
        draws = torch.from_numpy(keyed_random.uniform(keys, 4)).float()  # [B, 4]: dy, dx, two for the brightness
        span = 2 * self._shift_px + 1
        shift = ((draws[:, :2] * span).long().clamp(max=span - 1) - self._shift_px).int()
        scale = 1.0 + self._intensity_scale * _normal(draws[:, 2:]).clamp(-2.0, 2.0)
        return self._wanted(shift, scale)

    def _draw_there(self, batch: int, train_step: int, view: int, device: torch.device) -> Augmentation:
        draws = augment_draws(
            torch.full((1,), train_step, device=device),
            batch=batch,
            seed=self._seed,
            stream=keyed_random.AUGMENT,
            view=view,
            first_sample=self._rank * batch,
            shift_px=self._shift_px,
            intensity_scale=self._intensity_scale,
        )
        return self._wanted(draws.shift, draws.scale)

    def _wanted(self, shift: torch.Tensor, scale: torch.Tensor) -> Augmentation:
        return Augmentation(shift if self._shift_px else None, scale if self._intensity_scale else None)


def _normal(uniform: torch.Tensor) -> torch.Tensor:
    """Box and Muller: [B, 2] uniform -> [B] standard normal."""
    return torch.sqrt(-2.0 * torch.log(uniform[:, 0])) * torch.cos(2.0 * torch.pi * uniform[:, 1])
