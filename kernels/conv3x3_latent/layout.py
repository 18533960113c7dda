"""Memory layout of latents and weights for conv3x3_latent.

An image of G x G pixels takes (G + 1)^2 rows of C channels: pixel (y, x) of image b is row b (G + 1)^2 + y (G + 1) + x,
and the last row and column of every image are zero. They are the border on all four sides: left of a row's first pixel
is the previous row's last column, above an image the previous image's last row. So a tap (dy, dx) of the convolution is
the constant row offset dy (G + 1) + dx, without a mask.

Zero rows before the first image, and after the last one up to a whole tile plus one image row, keep every offset within
the memory. Zero rows stay zero: the convolution writes zeros to those between pixels and nothing to others.

Axes: R rows, B images, C channels, G grid.
"""

import torch
from torch.nn import functional as F

TILE_ROWS = 256  # a multiple of every kernel's tile


def margin_rows(grid: int) -> int:
    """Rows before the first image: the largest offset of a tap."""
    return grid + 2


def image_rows(grid: int) -> int:
    """Rows of an image, its border included."""
    return (grid + 1) ** 2


def num_rows(batch: int, grid: int) -> int:
    """R for `batch` images."""
    tiles = -(-batch * image_rows(grid) // TILE_ROWS)
    return tiles * TILE_ROWS + 2 * margin_rows(grid)


def zero_rows(batch: int, channels: int, grid: int, *, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """Memory for `batch` images, [R, C]."""
    return torch.zeros(num_rows(batch, grid), channels, dtype=dtype, device=device)


def as_images(rows: torch.Tensor, *, batch: int, grid: int) -> torch.Tensor:
    """The pixels in `rows` [R, C], a view [B, C, G, G] that shares their memory."""
    images = all_image_rows(rows, batch=batch, grid=grid).view(batch, grid + 1, grid + 1, rows.shape[1])
    return images.narrow(1, 0, grid).narrow(2, 0, grid).permute(0, 3, 1, 2)


def all_image_rows(rows: torch.Tensor, *, batch: int, grid: int) -> torch.Tensor:
    """`rows` without the margins, a view: the images, their borders included."""
    return rows.narrow(0, margin_rows(grid), batch * image_rows(grid))


def pack_images(images: torch.Tensor) -> torch.Tensor:
    """[B, C, G, G] -> [R, C], of the same type."""
    batch, channels, grid, _ = images.shape
    rows = zero_rows(batch, channels, grid, dtype=images.dtype, device=images.device)
    as_images(rows, batch=batch, grid=grid).copy_(images)
    return rows


def pack_weight(weight: torch.Tensor, *, dtype: torch.dtype) -> torch.Tensor:
    """A convolution's weight [C_out, C_in, 3, 3] -> [9, C_in, C_out], taps row by row."""
    return weight.permute(2, 3, 1, 0).flatten(0, 1).to(dtype).contiguous()


def pack_action_maps(weight: torch.Tensor, planes: torch.Tensor, *, grid: int) -> torch.Tensor:
    """The convolution of each action's constant planes, [A, G, G, C] float32.

    weight: [C, P, 3, 3], the taps on the planes after the state's channels; planes: [A, P] float32, their values.
    """
    # A matrix product, since a convolution on a GPU rounds float32 to TF32 by default.
    is_inside = F.unfold(torch.ones(1, 1, grid, grid, device=weight.device), 3, padding=1)[0]  # [9, G * G]
    channels, num_planes = weight.shape[:2]
    taps = weight.float().permute(1, 2, 3, 0).reshape(num_planes, 9, channels)
    maps = (is_inside.t() @ taps).flatten(1)  # [P, G * G * C]
    return (planes @ maps).view(-1, grid, grid, channels)
