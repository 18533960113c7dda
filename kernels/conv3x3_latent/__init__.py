"""A 3x3 convolution over latents with bias, action, residual and ReLU, in one pass.

    out = relu(conv(latents) + bias + action_maps[action] + residual)          the last two terms optional

The action planes (MuZero, App. E; EfficientZero, App. A) are replaced by a precomputed map that is added to every
pixel, which keeps the channel count suitable for tensor cores. Latents are rows with a border of zeros between the
images: `layout.py`. Sums are always float32. Called by inference on the GPU.

A search stores the latents of every node: `nodes` receives a second copy of the result, at the node whose number is in
device memory, so that one captured launch serves every simulation.

Axes: R rows, B images, C channels, G grid, N nodes.
"""

from collections.abc import Callable

import torch

from kernels.backend import uses_triton
from kernels.checks import require
from kernels.conv3x3_latent import reference
from kernels.conv3x3_latent.layout import num_rows, zero_rows


def conv3x3_latent(
    rows: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    batch: int,
    grid: int = 6,
    action: torch.Tensor | None = None,
    action_maps: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
    compact: bool = False,
    out: torch.Tensor | None = None,
    nodes: torch.Tensor | None = None,
    node: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """Convolve `batch` images.

    rows, residual: [R, C] and weight: [9, C, C], all float32 or all bfloat16; bias: [C] float32; action: [B] int64
    below A, unchecked, and action_maps: [A, G, G, C] float32, both or none. rows, weight and maps: as in `layout.py`.
    nodes: [N, R, C] of the rows' type, each made by `zero_rows`, and node: [1] int64 below N, both or none; not if
    compact.

    Returns out: [R, C] with its zero rows, or compact, [B, G, G, C]; of the rows' type. A given `out` must have been
    made by `zero_rows`, or be compact; it may be `residual`, not `rows`.
    Raises ValueError for mismatched shapes or types.
    """
    channels = rows.shape[1]
    require("rows", rows, (num_rows(batch, grid), channels), rows.dtype)
    require("weight", weight, (9, channels, channels), rows.dtype)
    require("bias", bias, (channels,), torch.float32)
    require("residual", residual, rows.shape, rows.dtype)
    require("action", action, (batch,), torch.int64)
    num_maps = len(action_maps) if action_maps is not None else 0
    require("action_maps", action_maps, (num_maps, grid, grid, channels), torch.float32)
    require("out", out, (batch, grid, grid, channels) if compact else rows.shape, rows.dtype)
    require("nodes", nodes, (len(nodes) if nodes is not None else 0, *rows.shape), rows.dtype)
    require("node", node, (1,), torch.int64)
    if (action is None) != (action_maps is None):
        raise ValueError("action and action_maps: both or none")
    if (nodes is None) != (node is None) or (nodes is not None and compact):
        raise ValueError("nodes and node: both or none, and none where compact")
    if rows.numel() >= 2**31:
        raise ValueError(f"{rows.numel()} numbers in rows are 2^31 or more")
    if out is None and compact:
        out = rows.new_empty(batch, grid, grid, channels)
    elif out is None:
        out = zero_rows(batch, channels, grid, dtype=rows.dtype, device=rows.device)
    if out is rows:
        raise ValueError("out is rows, which are still read while it is written")
    run: Callable[..., None] = reference.conv3x3_latent
    if uses_triton(rows, backend):
        from kernels.conv3x3_latent import triton_gpu

        run = triton_gpu.conv3x3_latent
    run(
        rows, weight, bias, out, batch=batch, grid=grid, action=action, action_maps=action_maps, residual=residual,
        nodes=nodes, node=node,
    )  # fmt: skip
    return out
