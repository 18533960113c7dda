"""Gathers the network states of every root's selected node in one pass.

States are node-major: node n of root b is row n B + b (`kernels.tree.Tree.parent_row`). Latents are rows with a border
of zeros, one block per node (`kernels/conv3x3_latent/layout.py`); an LSTM's h and c are plain rows. Values are copied
unchanged. Called by inference on the GPU.

Axes: B roots, N nodes, R rows of a node's latents, C channels, G grid, H hidden units.
"""

from dataclasses import dataclass

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.conv3x3_latent.layout import num_rows
from kernels.parent_gather import reference


@dataclass(frozen=True)
class States:
    """States of all nodes, or (without N) of one node for each root."""

    latent: torch.Tensor  # [N, R, C] float32 or bfloat16
    h: torch.Tensor | None  # [N, B, H] float32 or bfloat16; for one node, the row stride may exceed H
    c: torch.Tensor | None  # [N, B, H] float32; h and c both or none


def parent_gather(
    nodes: States, parent_row: torch.Tensor, out: States, *, batch: int, grid: int, backend: str = "auto"
) -> None:
    """Copy each root's row. parent_row: [B] int64; out: one node's, its latent made by `zero_rows`.

    Raises ValueError for mismatched shapes or types.
    """
    channels = nodes.latent.shape[-1]
    require("nodes.latent", nodes.latent, (nodes.latent.shape[0], num_rows(batch, grid), channels), nodes.latent.dtype)
    require("out.latent", out.latent, nodes.latent.shape[1:], nodes.latent.dtype)
    require("parent_row", parent_row, (batch,), torch.int64)
    for name in ("h", "c"):
        source, target = getattr(nodes, name), getattr(out, name)
        if (source is None) != (nodes.h is None) or (target is None) != (nodes.h is None):
            raise ValueError("nodes.h, nodes.c, out.h and out.c: all or none")
        if source is not None:
            require(f"nodes.{name}", source, (nodes.latent.shape[0], batch, source.shape[-1]), source.dtype)
            require(f"out.{name}", target, source.shape[1:], source.dtype, has_gaps=name == "h")
    if uses_triton(nodes.latent, backend):
        from kernels.parent_gather import triton_gpu

        triton_gpu.parent_gather(nodes, parent_row, out, batch=batch, grid=grid)
    else:
        reference.parent_gather(nodes, parent_row, out, batch=batch, grid=grid)
