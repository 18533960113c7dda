"""A GPU's capability, shared memory and name, as needed to launch kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

# Maximum per program, by capability (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
SHARED_BYTES = {
    (7, 5): 65_536,
    (8, 0): 166_912,
    (8, 6): 101_376,
    (8, 7): 166_912,
    (8, 9): 101_376,
    (9, 0): 232_448,
    (10, 0): 232_448,
    (10, 3): 232_448,
    (12, 0): 101_376,
    (12, 1): 101_376,
}


@dataclass(frozen=True)
class Card:
    capability: tuple[int, int]
    shared_bytes: int
    name: str = ""

    @staticmethod
    def of_capability(major: int, minor: int) -> Card:
        """From the table alone; the table's minimum for an unlisted capability."""
        return Card((major, minor), SHARED_BYTES.get((major, minor), min(SHARED_BYTES.values())))

    @staticmethod
    @lru_cache
    def of(device: torch.device) -> Card | None:
        """None on the CPU: Triton's interpreter has no such limits."""
        if device.type != "cuda":
            return None
        found = torch.cuda.get_device_properties(device)
        listed = Card.of_capability(found.major, found.minor)
        return Card(listed.capability, getattr(found, "shared_memory_per_block_optin", listed.shared_bytes), found.name)
