"""Groups of runs that differ only in their seeds: one curve with an interval, a label and a colour each.

Axes: R runs of a group, N points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speedyzero.config import get
from speedyzero.config.declare import EXECUTION
from speedyzero.config.settings import SETTINGS, used_as
from speedyzero.report.reading import RunRecord

# The colour-blind-safe palette of Okabe and Ito, without yellow, which is invisible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
_POINTS, _RESAMPLES = 200, 10_000
_SHOWN_SETTINGS = 2
# Runs that differ in the seed, or in how they were carried out, share a curve.
_NOT_COMPARED = used_as(EXECUTION) - {"preset"} | {"seed"}


@dataclass(frozen=True)
class Group:
    label: str
    colour: str
    runs: tuple[RunRecord, ...]

    @property
    def game(self) -> str:
        return self.runs[0].config.env.game


@dataclass(frozen=True)
class Line:
    """y over x. N points."""

    x: np.ndarray  # [N]
    y: np.ndarray  # [N]
    low: np.ndarray | None = None  # [N], of an interval
    high: np.ndarray | None = None  # [N]


def group_runs(runs: Sequence[RunRecord]) -> list[Group]:
    """Groups in the order of their first runs."""
    by_settings: dict[tuple, list[RunRecord]] = {}
    for run in runs:
        by_settings.setdefault(compared_settings(run), []).append(run)
    labels = _labels([group[0] for group in by_settings.values()])
    return [
        Group(label, COLOURS[i % len(COLOURS)], tuple(group))
        for i, (label, group) in enumerate(zip(labels, by_settings.values(), strict=True))
    ]


def compared_settings(run: RunRecord) -> tuple:
    return tuple(str(get(run.config, path)) for path in SETTINGS if path not in _NOT_COMPARED)


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """Settings in which runs differ, except `_NOT_COMPARED`."""
    paths = [path for path in SETTINGS if path not in _NOT_COMPARED]
    return [path for path in paths if len({str(get(run.config, path)) for run in runs}) > 1]


def _labels(runs: Sequence[RunRecord]) -> list[str]:
    """Game and preset, and if these are ambiguous the settings or names that differ."""

    def begins(run: RunRecord) -> str:
        return f"{run.config.env.game}, {run.config.preset}"

    labels = []
    for run in runs:
        alike = [other for other in runs if begins(other) == begins(run)]
        settings = [f"{path}={get(run.config, path)}" for path in differing(alike)[:_SHOWN_SETTINGS]]
        labels.append(", ".join([begins(run), *settings]))
    is_unique = [labels.count(label) == 1 for label in labels]
    return [
        label if unique else f"{label} ({run.name})" for label, unique, run in zip(labels, is_unique, runs, strict=True)
    ]


def combined(group: Group, line_of: Callable[[RunRecord], Line]) -> Line | None:
    """A single run's line, or the mean over a group's seeds with its 95% bootstrap interval, over their common range.

    None if no run has points or the runs have no common range.
    """
    lines = [line for line in map(line_of, group.runs) if len(line.x)]
    if len(lines) <= 1:
        return lines[0] if lines else None
    start, end = max(line.x.min() for line in lines), min(line.x.max() for line in lines)
    if start >= end:
        return None
    known = np.unique(np.concatenate([line.x for line in lines]))
    x = known[(known >= start) & (known <= end)]
    if len(x) > _POINTS:
        x = np.linspace(start, end, _POINTS)
    y = np.stack([np.interp(x, line.x, line.y) for line in lines])  # [R, N]
    low, high = bootstrap_intervals(y)
    return Line(x, y.mean(axis=0), low, high)


def bootstrap_intervals(y: np.ndarray) -> np.ndarray:
    """`result.bootstrap_ci95` of every column of y: [R, N] -> [2, N]."""
    runs = len(y)
    drawn = np.random.default_rng(0).integers(runs, size=(_RESAMPLES, runs))
    times = (drawn[:, :, None] == np.arange(runs)).sum(axis=1)  # [_RESAMPLES, R]: how often each run was drawn
    return np.quantile(times @ y / runs, (0.025, 0.975), axis=0)


def smoothed(line: Line, width: int, *, centred: bool = False) -> Line:
    """Running mean over the last `width` values, or centred on each point; fewer at the ends."""
    if width < 2 or len(line.y) < 2:
        return line
    total = np.concatenate([[0.0], np.cumsum(line.y)])
    here = np.arange(len(line.y))
    last = np.minimum(len(line.y), here + width // 2 + 1) if centred else here + 1
    first = np.maximum(0, here - width // 2) if centred else np.maximum(0, last - width)
    return Line(line.x, (total[last] - total[first]) / (last - first))
