"""Tile sizes of conv3x3_latent by channels, type and card.

Each of the nine taps is a product of a tile's rows [rows, C] with a weight [C, C]; `stages` of both are in shared
memory at once (one fewer where tensor cores read registers, before Hopper and on consumer Blackwell). The sums are in
registers, [rows, C] over all warps. These tiles neither exceed shared memory nor spill registers when compiled for
sm_80, 86, 89, 90, 100 and 120 (`tests/kernels`). Which of the candidates is the fastest is measured: `measured.py`.
"""

from dataclasses import dataclass, replace

import torch

from kernels.card import Card

_HOPPER = 9  # major capability from which tensor core instructions span four warps
_BLACKWELL = 10  # its data centre cards
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
        spills = card is not None and card.capability[0] == _BLACKWELL
        tile = Tile(rows=64, warps=8, stages=1 if spills else 2)
    if not _fits(tile, channels, dtype, card):
        assert card is not None
        major, minor = card.capability
        raise ValueError(
            f"conv3x3_latent of {channels} channels takes {tile.shared_bytes(channels, dtype):,} bytes of shared "
            f"memory, a GPU of capability {major}.{minor} has {card.shared_bytes:,} for a program"
        )
    return tile


def candidates(channels: int, dtype: torch.dtype, card: Card | None) -> list[Tile]:
    """`tile_for`'s, then others that may be faster: twice the rows, which read each weight half as often (but spill
    registers from Blackwell on); one stage, whose loads go through the L1 cache, where the nine taps' rows overlap."""
    tile = tile_for(channels, dtype, card)
    if dtype == torch.float32 or card is None:
        return [tile]
    others = [Tile(rows=256, warps=8, stages=2)] if channels <= 64 and card.capability[0] <= _HOPPER else []
    others += [replace(tile, stages=1)] if tile.stages > 1 else []
    return [tile, *(other for other in others if _fits(other, channels, dtype, card))]


def _fits(tile: Tile, channels: int, dtype: torch.dtype, card: Card | None) -> bool:
    return card is None or tile.shared_bytes(channels, dtype) <= card.shared_bytes
