"""Figures of known GPUs for predictions, from data sheets and the design's performance page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """Figures of a GPU, not measured here."""

    peak_flops: float  # bf16, dense; for H100 and H200 what large matmuls reach, below their nominal 989e12
    memory_bytes: int
    link_bytes_per_s: float  # to another GPU of the machine, per direction


CHIPS = {
    "A100": Chip(312e12, 80 * 10**9, 300e9),
    "H100": Chip(790e12, 80 * 10**9, 450e9),
    "H200": Chip(790e12, 141 * 10**9, 450e9),
}
