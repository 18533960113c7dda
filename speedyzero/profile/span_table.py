"""Span statistics by name: count, total, median and 99th percentile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speedyzero.profile.shares import Window
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import Track


@dataclass(frozen=True)
class SpanRow:
    """Spans of one name on one track that ended in the window."""

    track: str
    name: str
    count: int
    total_s: float
    median_ms: float
    p99_ms: float
    mib: float  # bytes moved, in MiB


def span_rows(track: Track, window: Window) -> list[SpanRow]:
    """Largest total first. A nested span also counts towards its enclosing one."""
    spans = _within(track, window)
    rows = []
    for number in np.unique(spans[:, 0]):
        of_name = spans[spans[:, 0] == number]
        duration_ms = of_name[:, 2] / 1e6
        rows.append(
            SpanRow(
                track=track.name,
                name=SPAN_NAMES[number],
                count=len(of_name),
                total_s=float(duration_ms.sum() / 1e3),
                median_ms=float(np.median(duration_ms)),
                p99_ms=float(np.percentile(duration_ms, 99)),
                mib=float(of_name[:, 3].sum() / 2**20),
            )
        )
    return sorted(rows, key=lambda row: -row.total_s)


def _within(track: Track, window: Window) -> np.ndarray:
    end_ns = track.spans[:, 1] + track.spans[:, 2]
    return track.spans[(end_ns > window.begin_ns) & (track.spans[:, 1] < window.end_ns)]
