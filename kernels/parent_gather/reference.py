"""parent_gather in plain torch: the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kernels.conv3x3_latent.layout import all_image_rows, image_rows, margin_rows

if TYPE_CHECKING:
    from kernels.parent_gather import States


def parent_gather(nodes: States, parent_row: torch.Tensor, out: States, *, batch: int, grid: int) -> None:
    """See the package's docstring."""
    size = image_rows(grid)
    images = nodes.latent.narrow(1, margin_rows(grid), batch * size).unflatten(1, (batch, size))
    node, root = parent_row // batch, parent_row % batch
    all_image_rows(out.latent, batch=batch, grid=grid).copy_(images[node, root].flatten(0, 1))
    if nodes.h is not None and nodes.c is not None and out.h is not None and out.c is not None:
        out.h.copy_(nodes.h[node, root])
        out.c.copy_(nodes.c[node, root])
