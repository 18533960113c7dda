"""Formats a mean over seeds for tables."""

from __future__ import annotations

import numpy as np

from speedyzero.evaluate.result import bootstrap_ci95


def mean_and_interval(values: np.ndarray) -> str:
    """The mean of values [N], one per seed, with its 95% bootstrap interval, as "1.20 (0.50 to 2.00)"."""
    interval = bootstrap_ci95(values)
    digits = 2 if np.abs(values).max() < 10 else 1
    mean = f"{values.mean():.{digits}f}"
    return mean if interval is None else f"{mean} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
