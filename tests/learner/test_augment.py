"""Augmentation against pad-and-crop of one sample after the other. Draws are recovered from what came out."""

import itertools

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


def test_shifts_are_uniform():
    """All (2p+1)^2 pairs: chi-square with 24 degrees of freedom is above 51.2 with probability 0.001."""
    window = random_window(100, 1, 6, 7, 1)
    shift = augment(shift_px=2)
    counts = dict.fromkeys(itertools.product(range(-2, 3), repeat=2), 0)
    for train_step in range(10):
        for offset in find_offsets(window, shift(window, train_step=train_step, view=0), 2):
            counts[offset] += 1
    expected = 1000 / 25
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 51.2


def brightness(output: torch.Tensor) -> torch.Tensor:
    """Factors of a constant grey of 200, [B, frames * channels]."""
    factor = output * (255 / 200)
    assert torch.allclose(factor, factor[:, :, :1, :1].expand_as(factor), atol=1e-6)
    return factor[:, :, 0, 0]


def test_brightness_is_one_draw_per_sample_within_two_deviations():
    grey = torch.full((5_000, 2, 2, 2, 1), 200, dtype=torch.uint8)
    factors = brightness(augment(intensity_scale=0.05)(grey, train_step=0, view=0))
    assert torch.allclose(factors[:, 0], factors[:, 1], atol=1e-6)
    normal = (factors[:, 0] - 1) / 0.05
    assert normal.abs().max() <= 2.0001
    clipped = (normal.abs() > 1.9999).float().mean().item()
    assert clipped == pytest.approx(0.0455, abs=0.012)  # both tails of a normal beyond 2
    assert normal.mean().item() == pytest.approx(0.0, abs=0.06)
    for threshold, share in [(-1.0, 0.1587), (0.0, 0.5), (0.5, 0.6915), (1.5, 0.9332)]:
        assert (normal < threshold).float().mean().item() == pytest.approx(share, abs=0.03)


def test_shift_and_brightness_together():
    window = random_window(6, 2, 8, 9, 3)
    shift, both = augment(shift_px=3), augment(shift_px=3, intensity_scale=0.05)
    ratio = both(window, train_step=1, view=1) / shift(window, train_step=1, view=1).clamp(min=1e-3)
    for sample, pixels in zip(ratio, shift(window, train_step=1, view=1), strict=True):
        factors = sample[pixels > 0.1]
        assert factors.std() < 1e-5 and 0.9 <= factors.mean() <= 1.1


def test_brightness_does_not_depend_on_the_shift():
    """Pixel (y, x) of a frame is 20 y + x, so the middle pixel tells the shift."""
    frame = (20 * torch.arange(1, 10)[:, None] + torch.arange(9)).to(torch.uint8)
    window = frame.view(1, 1, 9, 9, 1).expand(5_000, 1, 9, 9, 1)
    shifted = augment(shift_px=4)(window, train_step=0, view=0)[:, 0, 4, 4]
    both = augment(shift_px=4, intensity_scale=0.05)(window, train_step=0, view=0)[:, 0, 4, 4]
    position = (255 * shifted).round()
    dy, dx, change = position // 20, position % 20, both / shifted - 1
    figures = torch.stack([dy, dx, change, change.abs()])
    correlation = torch.corrcoef(figures).fill_diagonal_(0)
    assert correlation.abs().max() < 0.06  # 4 standard deviations


def test_draws_depend_on_sample_step_view_and_seed_alone():
    window = random_window(64, 1, 9, 9, 1)

    def offsets(*, train_step=0, view=0, seed=0, batch=64) -> list[tuple[int, int]]:
        return find_offsets(
            window[:batch], augment(shift_px=4, seed=seed)(window[:batch], train_step=train_step, view=view), 4
        )

    first = offsets()
    assert offsets() == first
    assert offsets(batch=10) == first[:10]
    for other in (offsets(view=1), offsets(train_step=1), offsets(seed=1)):
        same = sum(a == b for a, b in zip(first, other, strict=True))
        assert same < 8  # 64 samples, 81 shifts: 0.8 by chance


@pytest.mark.parametrize("channels", [1, 3])
def test_without_augmentation_pixels_are_only_scaled(channels):
    window = random_window(3, 4, 5, 6, channels)
    output = augment()(window, train_step=0, view=0)
    expected = window.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255
    torch.testing.assert_close(output, expected)


def test_vectors_are_never_changed():
    window = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    output = augment(shift_px=4, intensity_scale=0.5)(window, train_step=0, view=0)
    assert torch.equal(output, window.reshape(3, 8))
