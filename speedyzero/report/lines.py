"""Curves of a run, and of a group of seeds: their mean with its 95% interval.

Axes: R runs of a group, N points.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speedyzero.report.groups import Group
from speedyzero.report.reading import RunRecord

GAMES_IN_A_MEAN = 20
_POINTS, _RESAMPLES = 200, 10_000
_SMOOTHED_SHARE = 1 / 40  # of a metric's values


@dataclass(frozen=True)
class Line:
    """y over x. N points."""

    x: np.ndarray  # [N]
    y: np.ndarray  # [N]
    low: np.ndarray | None = None  # [N], of the 95% interval; NaN where it is not known
    high: np.ndarray | None = None  # [N]


Clock = Callable[[RunRecord, np.ndarray], np.ndarray]
"""Turns a run's times in seconds, [N], into an x axis, [N]."""


def evaluations(run: RunRecord, clock: Clock) -> Line:
    """Mean scores with their intervals over episodes, when training reached their weights (known only later)."""
    times_s = run.time_at(np.array([score["step"] for score in run.scores], np.float64))
    bounds = np.array([score.get("ci95") or (np.nan, np.nan) for score in run.scores]).reshape(-1, 2)
    return Line(clock(run, times_s), np.array([score["mean"] for score in run.scores]), *bounds.T)


def games(run: RunRecord, clock: Clock) -> Line:
    """Running mean of the scores of the actors' games."""
    series = run.series("actor/game_score")
    return smoothed(Line(clock(run, series.times_s), series.values), GAMES_IN_A_MEAN)


def metric(run: RunRecord, name: str, *, raw: bool = False) -> Line:
    """A metric's finite values over train steps; their running mean unless raw."""
    series = run.series(name)
    finite = np.isfinite(series.values)
    line = Line(series.steps[finite].astype(np.float64), series.values[finite])
    return line if raw else smoothed(line, int(len(line.y) * _SMOOTHED_SHARE))


def combined(group: Group, line_of: Callable[[RunRecord], Line]) -> Line | None:
    """A single run's line, or the mean over a group's seeds with its 95% bootstrap interval, over their common range.

    None if no run has points or the runs have no common range.
    """
    lines = [line for line in map(line_of, group.runs) if len(line.x)]
    if not lines or len(group.runs) == 1:
        return lines[0] if lines else None
    start, end = max(line.x.min() for line in lines), min(line.x.max() for line in lines)
    known = np.unique(np.concatenate([line.x for line in lines]))
    x = known[(known >= start) & (known <= end)]
    if len(x) == 0:
        return None
    if len(x) > _POINTS:
        x = np.linspace(start, end, _POINTS)
    y = np.stack([np.interp(x, line.x, line.y) for line in lines])  # [R, N]
    return Line(x, y.mean(axis=0), *_bootstrap_intervals(y))


def _bootstrap_intervals(y: np.ndarray) -> np.ndarray:
    """`result.bootstrap_ci95` of every column of y: [R, N] -> [2, N]."""
    runs = len(y)
    drawn = np.random.default_rng(0).integers(runs, size=(_RESAMPLES, runs))
    times = (drawn[:, :, None] == np.arange(runs)).sum(axis=1)  # [_RESAMPLES, R]: how often each run was drawn
    return np.quantile(times @ y / runs, (0.025, 0.975), axis=0)


def smoothed(line: Line, width: int) -> Line:
    """Mean over the last `width` values, or over as many as there are."""
    if width < 2:
        return line
    total = np.concatenate([[0.0], np.cumsum(line.y)])
    last = np.arange(1, len(line.y) + 1)
    first = np.maximum(0, last - width)
    return Line(line.x, (total[last] - total[first]) / (last - first))
