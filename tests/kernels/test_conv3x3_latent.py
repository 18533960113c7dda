"""conv3x3_latent: both backends against float64, and a whole dynamics step against the model's blocks."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kernels.card import SHARED_BYTES, Card
from kernels.conv3x3_latent import conv3x3_latent
from kernels.conv3x3_latent.layout import (
    TILE_ROWS,
    all_image_rows,
    as_images,
    num_rows,
    pack_action_maps,
    pack_images,
    pack_weight,
    zero_rows,
)
from kernels.conv3x3_latent.tile import candidates, tile_for
from speedyzero.model.blocks import ActionConv
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

ACTIONS = 18


def normal(*shape: int, seed: int, device: torch.device) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def poisoned_rows(batch: int, channels: int, grid: int, device: torch.device) -> torch.Tensor:
    """Not a number in every row of an image, its border included."""
    rows = zero_rows(batch, channels, grid, dtype=torch.float32, device=device)
    all_image_rows(rows, batch=batch, grid=grid).fill_(torch.nan)
    return rows


def assert_only_pixels(rows: torch.Tensor, batch: int, grid: int) -> None:
    """Everything but the pixels is zero."""
    rest = rows.clone()
    as_images(rest, batch=batch, grid=grid).zero_()
    assert torch.equal(rest, torch.zeros_like(rest))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("batch", "channels", "grid", "encoding"),
    [
        (1, 64, 6, "scale"),
        (7, 64, 6, "scale"),
        (63, 64, 6, "one_hot"),
        (7, 32, 6, "one_hot"),
        (63, 16, 3, "scale"),
        (7, 16, 1, "one_hot"),
    ],
)
def test_agrees_with_float64(monkeypatch, device, backend, batch, channels, grid, encoding):
    images, residual = (normal(batch, channels, grid, grid, seed=i, device=device) for i in (0, 1))
    every = torch.arange(ACTIONS, device=device)
    planes = ActionConv(channels, ACTIONS, folded=True, encoding=encoding).planes(every)
    weight = 0.1 * normal(channels, channels + planes.shape[1], 3, 3, seed=2, device=device)
    bias = normal(channels, seed=3, device=device)
    action = torch.arange(batch, device=device) % ACTIONS
    out = poisoned_rows(batch, channels, grid, device)
    seen = watch(monkeypatch, "kernels.conv3x3_latent", reference="conv3x3_latent", kernel="conv3x3_latent_kernel")
    found = conv3x3_latent(
        pack_images(images), pack_weight(weight[:, :channels], dtype=torch.float32), bias, batch=batch, grid=grid,
        action=action, action_maps=pack_action_maps(weight[:, channels:], planes, grid=grid),
        residual=pack_images(residual), out=out, backend=backend,
    )  # fmt: skip
    assert seen == [backend]
    assert found is out
    if encoding == "scale":
        told = (action.double() / ACTIONS)[:, None]
    else:
        told = F.one_hot(action, ACTIONS) * 0.5 * math.sqrt(channels)
    plane = told.double()[:, :, None, None].expand(-1, -1, grid, grid)
    y = F.conv2d(torch.cat([images.double(), plane], 1), weight.double(), bias.double(), padding=1)
    expected = F.relu(y + residual.double())
    torch.testing.assert_close(as_images(found, batch=batch, grid=grid).double(), expected, rtol=1e-5, atol=1e-5)
    assert_only_pixels(found, batch, grid)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
@pytest.mark.parametrize("channels", [32, 64])
def test_bfloat16_is_rounded_once(device, backend, channels):
    images, residual = (normal(63, channels, 6, 6, seed=i, device=device).bfloat16() for i in (0, 1))
    weight = normal(channels, channels, 3, 3, seed=2, device=device).bfloat16()
    bias = normal(channels, seed=3, device=device)
    found = conv3x3_latent(
        pack_images(images), pack_weight(weight, dtype=torch.bfloat16), bias, batch=63,
        residual=pack_images(residual), backend=backend,
    )  # fmt: skip
    expected = F.relu(F.conv2d(images.double(), weight.double(), bias.double(), padding=1) + residual.double())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(as_images(found, batch=63, grid=6).double(), expected, rtol=2**-8, atol=1e-4)
    assert_only_pixels(found, 63, 6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("has_residual", [False, True])
@pytest.mark.parametrize("compact", [False, True])
def test_every_epilogue(device, backend, has_residual, compact):
    batch, channels, grid = 5, 16, 6
    images, residual = (normal(batch, channels, grid, grid, seed=i, device=device) for i in (0, 1))
    weight, bias = normal(channels, channels, 3, 3, seed=2, device=device), normal(channels, seed=3, device=device)
    out = None
    if compact:
        out = torch.full((batch, grid, grid, channels), torch.nan, device=device)
    found = conv3x3_latent(
        pack_images(images), pack_weight(weight, dtype=torch.float32), bias, batch=batch, grid=grid,
        residual=pack_images(residual) if has_residual else None, compact=compact, out=out, backend=backend,
    )  # fmt: skip
    expected = F.conv2d(images.double(), weight.double(), bias.double(), padding=1)
    expected = F.relu(expected + residual.double() if has_residual else expected)
    pixels = found.permute(0, 3, 1, 2) if compact else as_images(found, batch=batch, grid=grid)
    torch.testing.assert_close(pixels.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_a_number_reaches_its_neighbours_and_no_other_image(device, backend):
    """Through relu too, and not across the border between images."""
    images = torch.zeros(3, 16, 6, 6, device=device)
    images[1, 5, 0, 5] = torch.nan
    weight, bias = torch.ones(16, 16, 3, 3, device=device), torch.zeros(16, device=device)
    rows = conv3x3_latent(pack_images(images), pack_weight(weight, dtype=torch.float32), bias, batch=3, backend=backend)
    found = as_images(rows, batch=3, grid=6)[:, 0].isnan().nonzero().tolist()
    assert found == [[1, 0, 4], [1, 0, 5], [1, 1, 4], [1, 1, 5]]


def test_misfits_are_refused(device):
    rows, weight, bias = torch.zeros(num_rows(2, 6), 16), torch.zeros(9, 16, 16), torch.zeros(16)
    few = [tensor.to(device) for tensor in (rows[:, :8].contiguous(), torch.zeros(9, 8, 8), bias[:8])]
    one = {"batch": 2, "nodes": rows[None, 1:], "node": torch.tensor([0])}
    for named, arguments, options in (
        ("[528, 16]", (rows, weight, bias), {"batch": 6}),
        ("weight", (rows.bfloat16(), weight, bias), {"batch": 2}),
        ("both or none", (rows, weight, bias), {"batch": 2, "action": torch.zeros(2, dtype=torch.int64)}),
        ("nodes and node", (rows, weight, bias), {"batch": 2, "nodes": rows[None]}),
        ("[1, 271, 16]", (rows, weight, bias), one),
        ("out is rows", (rows, weight, bias), {"batch": 2, "out": rows}),
        ("got 8", few, {"batch": 2, "backend": "triton"}),
    ):
        assert named in refusal(conv3x3_latent, *arguments, **options)


@pytest.mark.parametrize("capability", sorted(SHARED_BYTES))
def test_a_tile_fits_every_card_or_says_what_it_lacks(capability):
    """What a tile takes is the compiler's own figure: `cases_network.py`."""
    card = Card.of_capability(*capability)
    for channels in (16, 32, 64, 128, 256):
        try:
            tile = tile_for(channels, torch.bfloat16, card)
        except ValueError as error:
            assert channels == 256 or (channels > 32 and card.shared_bytes < 100_000)
            assert f"{card.shared_bytes:,}" in str(error) and f"{channels} channels" in str(error)
        else:
            others = candidates(channels, torch.bfloat16, card)
            assert others[0] == tile and len(set(others)) == len(others)
            for each in others:
                assert each.shared_bytes(channels, torch.bfloat16) <= card.shared_bytes and TILE_ROWS % each.rows == 0


def test_a_card_that_is_not_listed_counts_as_the_smallest():
    assert Card.of_capability(99, 9).shared_bytes == min(SHARED_BYTES.values())
    assert Card.of(torch.device("cpu")) is None
