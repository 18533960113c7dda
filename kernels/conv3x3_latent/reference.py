"""conv3x3_latent in plain torch: the definition."""

import torch
from torch.nn import functional as F

from kernels.conv3x3_latent.layout import all_image_rows, as_images, margin_rows


def conv3x3_latent(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    out: torch.Tensor,
    *,
    batch: int,
    grid: int,
    action: torch.Tensor | None,
    action_maps: torch.Tensor | None,
    residual: torch.Tensor | None,
    nodes: torch.Tensor | None = None,
    node: torch.Tensor | None = None,
) -> None:
    """See the package's docstring."""
    # A matrix product, since a convolution on a GPU rounds float32 to TF32 by default.
    columns = F.unfold(as_images(rows, batch=batch, grid=grid).float(), 3, padding=1)  # [B, C * 9, G * G]
    y = weight.float().permute(2, 1, 0).flatten(1) @ columns + bias.unsqueeze(1)
    y = y.unflatten(2, (grid, grid))
    if action is not None and action_maps is not None:
        y = y + action_maps[action].permute(0, 3, 1, 2)
    if residual is not None:
        y = y + as_images(residual, batch=batch, grid=grid).float()
    y = F.relu(y)
    if out.dim() == 4:
        out.permute(0, 3, 1, 2).copy_(y)
    else:
        all_image_rows(out, batch=batch, grid=grid).zero_()
        as_images(out, batch=batch, grid=grid).copy_(y)
    if nodes is not None and node is not None:
        images = all_image_rows(out, batch=batch, grid=grid)
        nodes.narrow(1, margin_rows(grid), len(images)).index_copy_(0, node, images.unsqueeze(0))
