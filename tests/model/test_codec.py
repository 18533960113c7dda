"""The scalar codec against hand-worked bins and the textbook inverse in float64."""

import math

import numpy as np
import pytest
import torch

from kernels.decode_head.reference import unsquash
from speedyzero.config import CodecConfig
from speedyzero.model.codec import ScalarCodec, squash

EPSILON = 0.001
BINS = [CodecConfig(), CodecConfig(limit=20.0, step=0.5), CodecConfig(limit=2.0, step=0.1), CodecConfig(limit=50.0)]


def textbook_unsquash(y: np.ndarray) -> np.ndarray:
    """h^-1 as B.2 prints it, in float64."""
    root = np.sqrt(1 + 4 * EPSILON * (np.abs(y) + 1 + EPSILON))
    return np.sign(y) * (((root - 1) / (2 * EPSILON)) ** 2 - 1)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.0, {300: 1.0}),
        (3.0, {301: 0.997, 302: 0.003}),  # h = sqrt(4) - 1 + 0.003 = 1.003
        (-3.0, {299: 0.997, 298: 0.003}),
        (99.0, {309: 0.901, 310: 0.099}),  # h = sqrt(100) - 1 + 0.099 = 9.099
        (-0.75, {300: 0.6763743, 299: 0.3236257}),  # h = -(sqrt(1.75) - 1) - 0.00075 = -0.3236257
        (1e9, {600: 1.0}),
        (-1e9, {0: 1.0}),
    ],
)
def test_two_hot_by_hand(x, expected):
    distribution = ScalarCodec(CodecConfig()).encode(torch.tensor(x))
    assert distribution.shape == (601,) and distribution.dtype == torch.float32
    assert {bin: distribution[bin].item() for bin in expected} == pytest.approx(expected, abs=1e-6)
    assert distribution.sum().item() == pytest.approx(1.0, abs=1e-6)
    assert (distribution > 0).sum() == len(expected)


def test_two_hot_in_other_bins():
    """limit 20, step 0.5: 81 bins, the middle one 40. h(3) = 1.003 lies 2.006 steps above it."""
    codec = ScalarCodec(CodecConfig(limit=20.0, step=0.5))
    assert codec.bins == 81 and codec.support.tolist() == [-20 + 0.5 * i for i in range(81)]
    distribution = codec.encode(torch.tensor([3.0, -3.0]))
    assert distribution[0, 42:44].tolist() == pytest.approx([0.994, 0.006], abs=1e-6)
    assert distribution[1, 37:39].tolist() == pytest.approx([0.006, 0.994], abs=1e-6)


@pytest.mark.parametrize("config", BINS)
def test_decoding_inverts_encoding(config):
    codec = ScalarCodec(config)
    largest = textbook_unsquash(np.array(config.limit))
    magnitude = np.geomspace(1e-5, largest, 2000)
    x = torch.from_numpy(np.concatenate([-magnitude, [0.0], magnitude])).float()
    decoded = codec.decode(codec.encode(x).log())  # -inf for an empty bin
    torch.testing.assert_close(decoded, x, rtol=1e-4, atol=0)


@pytest.mark.parametrize("config", BINS)
def test_beyond_the_limit_stays_at_it(config):
    codec = ScalarCodec(config)
    largest = float(textbook_unsquash(np.array(config.limit)))
    decoded = codec.decode(codec.encode(torch.tensor([10 * largest, -10 * largest])).log())  # -inf for an empty bin
    assert decoded.tolist() == pytest.approx([largest, -largest], rel=1e-5)


def test_squash_and_unsquash_against_float64():
    y = np.concatenate([np.linspace(-300, 300, 5001), np.geomspace(1e-4, 300, 1000), -np.geomspace(1e-4, 300, 1000)])
    x = textbook_unsquash(y)
    np.testing.assert_allclose(unsquash(torch.from_numpy(y).float()).numpy(), x, rtol=1e-6, atol=1e-9)
    textbook_h = np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + EPSILON * x
    np.testing.assert_allclose(squash(torch.from_numpy(x).float()).numpy(), textbook_h, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("x", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(x):
    """So that the loss shows it; its neighbours are unharmed."""
    encoded = ScalarCodec(CodecConfig()).encode(torch.tensor([1.0, x, 2.0]))
    assert encoded.isnan().any(dim=1).tolist() == [False, True, False]
