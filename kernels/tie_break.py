"""Random tie-breaking as a pure function of (seed, root, simulation, depth).

32-bit hashing in 64-bit integers, so that torch (which lacks unsigned arithmetic) and numba give the same bits. The
mixing constants are Wellons's low-bias 32-bit hash ("Prospecting for hash functions", 2018).
"""

import torch

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9
MIX_1 = 0x7FEB352D
MIX_2 = 0x846CA68B


def absorb(state, key):
    """Mix a non-negative key into a 32-bit state. Both are integers below 2^32: Python's, numba's or torch int64."""
    x = ((state ^ key) + GOLDEN) & MASK
    x = ((x ^ (x >> 16)) * MIX_1) & MASK
    x = ((x ^ (x >> 15)) * MIX_2) & MASK
    return x ^ (x >> 16)


def pick(seed: int, root: torch.Tensor, simulation: int, depth: int, count: torch.Tensor) -> torch.Tensor:
    """A number in [0, count) for each root. root, count: [B] int64."""
    start = torch.full_like(root, seed)
    return (absorb(absorb(absorb(start, root), simulation), depth) * count) >> 32
