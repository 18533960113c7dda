"""conv3x3_latent in plain torch: the definition."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from kernels.conv3x3_latent.layout import as_images, image_rows, margin_rows


def conv3x3_latent(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    out: torch.Tensor,
    *,
    batch: int,
    grid: int,
    action: torch.Tensor | None,
    action_map: torch.Tensor | None,
    residual: torch.Tensor | None,
    relu: bool,
) -> None:
    """See the package's docstring."""
    kernel = weight.float().unflatten(0, (3, 3)).permute(3, 2, 0, 1)
    y = F.conv2d(as_images(rows, batch=batch, grid=grid).float(), kernel, bias, padding=1)
    if action is not None and action_map is not None:
        y = y + action.float().view(-1, 1, 1, 1) * action_map.permute(2, 0, 1)
    if residual is not None:
        y = y + as_images(residual, batch=batch, grid=grid).float()
    if relu:
        y = F.relu(y)
    if out.dim() == 4:
        out.permute(0, 3, 1, 2).copy_(y)
    else:
        out[margin_rows(grid) :][: batch * image_rows(grid)] = 0.0
        as_images(out, batch=batch, grid=grid).copy_(y)
