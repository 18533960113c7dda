"""A profiled run's spans by track, and samples of its counters.

Held in memory (32 bytes a span) until the profile ends, so that no disk writes disturb the timing. `MAX_KEPT` bounds
the trace to what viewers can load.
"""

from collections.abc import Mapping

import numpy as np

from speedyzero.topology.records import SPAN_FIELDS, SpanBlock

MAX_KEPT = 500_000  # spans and samples; about 50 MB as JSON, a fifth of that for the browser in the trace's file


class SpanStore:
    """Spans and samples of a run. A track is one role: its process, or its turns in a shared process."""

    def __init__(self, limit: int = MAX_KEPT):
        self._limit, self.kept = limit, 0
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._covered: dict[str, list[tuple[int, int]]] = {}
        self._samples: dict[str, list[tuple[int, float]]] = {}

    @property
    def full(self) -> bool:
        return self.kept >= self._limit

    def add(self, track: str, block: SpanBlock) -> None:
        """Keep a copy, even beyond the limit: `full` makes the caller end the profile."""
        self._blocks.setdefault(track, []).append(block.span[: block.count].copy())
        covered = self._covered.setdefault(track, [])
        if covered and covered[-1][1] == block.since_ns:
            covered[-1] = (covered[-1][0], block.until_ns)
        else:
            covered.append((block.since_ns, block.until_ns))
        self.kept += block.count

    def sample(self, time_ns: int, values: Mapping[str, float]) -> None:
        """Keep only the values that have changed."""
        for name, value in values.items():
            kept = self._samples.setdefault(name, [])
            if not kept or kept[-1][1] != value:
                kept.append((time_ns, value))
                self.kept += 1

    def spans(self, track: str) -> np.ndarray:
        """[N, 4] int64, in the order in which they ended."""
        return np.concatenate([np.zeros((0, SPAN_FIELDS), np.int64), *self._blocks.get(track, [])])

    def covered(self, track: str) -> list[tuple[int, int]]:
        """Intervals, in ns, in which the track's spans are complete."""
        return list(self._covered.get(track, []))

    def samples(self) -> dict[str, list[tuple[int, float]]]:
        return {name: list(kept) for name, kept in self._samples.items()}
