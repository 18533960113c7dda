"""Shared plotting: size, font, axes, legends, and lines of groups with their intervals.

Sizes fit a page of 1,160 px on a laptop's screen of 1280x800: `WIDTH_IN` at `DPI`, shown at two thirds of that for
sharpness. Legends are above the panels, where nothing is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from speedyzero.report.groups import Group, Line, combined, smoothed
from speedyzero.report.reading import RunRecord

WIDTH_IN, DPI, _LEGEND_ROW_IN = 11.6, 150, 0.18
_STEPS = (1, 2, 2.5, 5, 10)  # of ticks
MINUTE_S, HOUR_S = 60.0, 3600.0


def panels(rows: int, columns: int, *, row_in: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row."""
    import matplotlib

    with matplotlib.rc_context({"font.size": 9, "axes.labelsize": 9}):
        figure = Figure(figsize=(WIDTH_IN, row_in * rows + 0.4), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for one in axes:
        one.grid(alpha=0.25, linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
        one.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
    return figure, axes


def finished(figure: Figure, handles: Sequence[Artist] = ()) -> bytes:
    """The figure as PNG. handles: of the legend above the panels."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(len(handles), 150 // (longest + 8)))
        rows = -(-len(handles) // columns)
        figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_IN * (rows - 1))  # keeps the panels' height
        figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, frameon=False, fontsize=8.5)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()


def legend_of(groups: Sequence[Group]) -> list[Line2D]:
    """A line for each group; none for a single run."""
    if len(groups) == 1 and len(groups[0].runs) == 1:
        return []
    counted = [f"{group.label} ({len(group.runs)} seeds)" if len(group.runs) > 1 else group.label for group in groups]
    return [Line2D([], [], color=group.colour, label=label) for group, label in zip(groups, counted, strict=True)]


def headed(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5)


def count_axis(axes: Axes, label: str) -> None:
    """An x axis of counts, as 12k."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_xlim(left=0)


class Clock:
    """The unit of time of a figure's axis."""

    def __init__(self, longest_s: float):
        self.unit, self.seconds = next(
            (unit, seconds)
            for unit, seconds, least in (("hours", HOUR_S, 2.0), ("minutes", MINUTE_S, 2.0), ("seconds", 1.0, 0.0))
            if longest_s >= least * seconds
        )

    @staticmethod
    def of(groups: Sequence[Group]) -> Clock:
        return Clock(max(run.duration_s for group in groups for run in group.runs))

    def axis(self, axes: Axes, what: str = "time at work") -> None:
        axes.set_xlabel(f"{what} ({self.unit})")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS))
        axes.set_xlim(left=0)


def draw_line(axes: Axes, line: Line | None, *, colour: str, style: str = "-", **options) -> None:
    """A group's line with its interval; a single point as a dot."""
    if line is None or not len(line.x):
        return
    if len(line.x) == 1:
        options.setdefault("marker", "o")
    axes.plot(line.x, line.y, color=colour, linestyle=style, **{"linewidth": 1.3, "markersize": 4, **options})
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)


def draw_metric(axes: Axes, groups: Sequence[Group], name: str, *, style: str = "-", smooth: bool = True) -> bool:
    """Draw a metric over train steps, smoothed; for a single run with pale raw values. Returns whether it was found."""

    def line_of(run: RunRecord) -> Line:
        series = run.series(name)
        is_finite = np.isfinite(series.values)
        return Line(series.steps[is_finite].astype(np.float64), series.values[is_finite])

    def smoothed_of(run: RunRecord) -> Line:
        raw = line_of(run)
        return smoothed(raw, len(raw.y) // 40, centred=True)

    drawn = False
    for group in groups:
        if smooth and len(group.runs) == 1:
            raw = line_of(group.runs[0])
            draw_line(axes, raw, colour=group.colour, style=style, alpha=0.25, linewidth=0.8)
        line = combined(group, lambda run: smoothed_of(run) if smooth else line_of(run))
        draw_line(axes, line, colour=group.colour, style=style)
        drawn |= line is not None
    return drawn


def from_zero(axes: Axes) -> None:
    """Scale the y axis from 0 to slightly above the data."""
    highest = axes.dataLim.y1
    axes.set_ylim(0, 1.06 * highest if np.isfinite(highest) and highest > 0 else None)


def nothing(axes: Axes, words: str = "not recorded") -> None:
    """Mark a panel as empty, with the reason."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="#777777")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def short(value: float) -> str:
    """12,345 as 12.3k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.4g}"
