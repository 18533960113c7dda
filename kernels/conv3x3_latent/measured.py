"""The tile of a launch: the fastest of `tile.candidates` where they were timed on this GPU, else `tile_for`'s.

`make gpu-check` times them and keeps the fastest in the user's cache folder, which each process reads once:

    {"NVIDIA H200, Triton 3.7.1, 64 bfloat16": {"16": [128, 4, 3], "2048": [256, 8, 2]}}

By number of images: rows, warps, stages. A launch takes the entry of the largest number up to its own.
"""

import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

from kernels.card import Card
from kernels.conv3x3_latent.tile import Tile, candidates

_log = logging.getLogger("kernels")


@lru_cache
def measured_tile(channels: int, dtype: torch.dtype, card: Card | None, *, batch: int) -> Tile:
    """Raises ValueError as `tile_for` does."""
    allowed = candidates(channels, dtype, card)
    fastest = _read_table().get(table_key(channels, dtype, card), {}) if card is not None else {}
    if not fastest:
        return allowed[0]
    tile = fastest[max((images for images in fastest if images <= batch), default=min(fastest))]
    return tile if tile in allowed else allowed[0]  # the file may be of another version


def table_path() -> Path | None:
    """None for a user without a home."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "speedyzero" / "conv3x3_latent.json" if os.path.isabs(folder) else None


def table_key(channels: int, dtype: torch.dtype, card: Card) -> str:
    import triton

    return f"{card.name}, Triton {triton.__version__}, {channels} {str(dtype).removeprefix('torch.')}"


@lru_cache
def _read_table() -> Mapping[str, Mapping[int, Tile]]:
    path = table_path()
    if path is None or not os.path.exists(path):
        return {}
    try:
        table = json.loads(path.read_text())
        return {key: {int(images): Tile(*tile) for images, tile in row.items()} for key, row in table.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _log.warning("%s cannot be used, tiles are as without it: %s", path, error)
        return {}
