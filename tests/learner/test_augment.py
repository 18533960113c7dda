"""Augmentation against pad-and-crop of one sample after the other. Draws are recovered from what came out; that they
and the brightness are the keyed ones is in `tests/kernels/test_stack_gather.py`."""

import numpy as np
import pytest
import torch

from speedyzero.config import LearnerConfig
from speedyzero.learner.augment import Augment


def augment(*, shift_px: int = 0, intensity_scale: float = 0.0, seed: int = 0) -> Augment:
    return Augment(LearnerConfig(shift_px=shift_px, intensity_scale=intensity_scale), seed=seed)


def random_window(batch: int, frames: int, height: int, width: int, channels: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(256, size=(batch, frames, height, width, channels), dtype=np.uint8))


def crops(image: np.ndarray, pad: int) -> dict[tuple[int, int], np.ndarray]:
    """Every crop of a replicate-padded image [H, W], by its offset from the middle."""
    padded = np.pad(image, pad, mode="edge")
    height, width = image.shape
    offsets = range(2 * pad + 1)
    return {(y - pad, x - pad): padded[y : y + height, x : x + width] for y in offsets for x in offsets}


def find_offsets(window: torch.Tensor, output: torch.Tensor, pad: int) -> list[tuple[int, int]]:
    """Each sample's shift: the only one at which every frame and channel agrees with the slow crop."""
    found = []
    for sample, result in zip(window.numpy(), output.numpy(), strict=True):
        frames, _, _, channels = sample.shape
        images = [sample[f, :, :, c] for f in range(frames) for c in range(channels)]  # oldest to newest, then R, G, B
        tables = [crops(image, pad) for image in images]
        fits = [
            offset
            for offset in tables[0]
            if all(np.allclose(result[i], table[offset] / 255, atol=1e-6) for i, table in enumerate(tables))
        ]
        assert len(fits) == 1
        found.append(fits[0])
    return found


@pytest.mark.parametrize(("frames", "channels", "pad"), [(4, 3, 4), (1, 1, 1), (3, 2, 2)])
def test_every_frame_of_a_sample_is_the_same_crop(frames, channels, pad):
    window = random_window(20, frames, 11, 13, channels)
    output = augment(shift_px=pad)(window, train_step=3, view=0)
    assert output.shape == (20, frames * channels, 11, 13) and output.dtype == torch.float32
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert len(set(find_offsets(window, output, pad))) > 3
