"""Counts that `ablate` and `atari100k` take."""

from __future__ import annotations

import argparse


def check_counts(flags: argparse.Namespace) -> None:
    """Raises ValueError for fewer than one seed or job."""
    for name in ("seeds", "jobs"):
        count = getattr(flags, name)
        if count is not None and count < 1:
            raise ValueError(f"--{name} {count}: must be 1 or more")
