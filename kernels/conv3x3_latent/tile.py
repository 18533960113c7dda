"""Tile sizes of conv3x3_latent by channels, type and card.

Each of the nine taps is a product of a tile's rows [rows, C] with a weight [C, C]; `stages` of both are in shared
memory at once (one fewer where tensor cores read registers, before Hopper and on consumer Blackwell). The sums are in
registers, [rows, C] over all warps. These tiles neither exceed shared memory nor spill registers when compiled for
sm_80, 86, 89, 90, 100 and 120 (`tests/kernels`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from kernels.card import Card

_HOPPER = 9  # major capability from which tensor core instructions span four warps
_BARRIER_BYTES = 64


@dataclass(frozen=True)
class Tile:
    rows: int
    warps: int
    stages: int

    def shared_bytes(self, channels: int, dtype: torch.dtype) -> int:
        """Upper bound for a program."""
        return self.stages * (self.rows + channels) * channels * dtype.itemsize + _BARRIER_BYTES


def tile_for(channels: int, dtype: torch.dtype, card: Card | None) -> Tile:
    """card: None on the CPU. Raises ValueError for unsupported channels, and if no tile fits the card."""
    if channels < 16 or channels & (channels - 1):
        raise ValueError(f"conv3x3_latent needs channels that are a power of 2 from 16 on, got {channels}")
    if dtype == torch.float32:  # no tensor cores, more registers
        tile = Tile(rows=32, warps=4, stages=2)
    elif channels <= 64:
        tile = Tile(rows=128, warps=4 if card is None or card.capability[0] == _HOPPER else 8, stages=3)
    else:  # 256 channels fit no card, and with one stage and 32 rows would read each weight once for 32 rows
        tile = Tile(rows=64, warps=8, stages=2)
    needed = tile.shared_bytes(channels, dtype)
    if card is not None and needed > card.shared_bytes:
        major, minor = card.capability
        raise ValueError(
            f"conv3x3_latent of {channels} channels takes {needed:,} bytes of shared memory, a GPU of capability "
            f"{major}.{minor} has {card.shared_bytes:,} for a program"
        )
    return tile
