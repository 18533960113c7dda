"""Each process's time: computing, or waiting, by reason.

The counters are cumulative and restart at 0 in a replacement process and in a resumed run. Axes: N intervals, K kinds
of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from speedyzero.report.canvas import Clock, finished, headed, panels
from speedyzero.report.figures import Picture
from speedyzero.report.groups import Group
from speedyzero.report.reading import RunRecord

KINDS = {
    "busy": ("computes", "#0072B2"),
    "wait_pacing": ("waits for the other side's pace", "#BBBBBB"),
    "wait_input": ("waits for input", "#E69F00"),
    "wait_space": ("waits for space in an output", "#D55E00"),
    "wait_group": ("waits for other learners", "#CC79A7"),
}
_OTHER = ("starts, or is not accounted for", "#F4F4F4")
# A step is counted when it ends, so in short intervals a long step would all fall into the last of them.
_MOST_BINS, _COLUMNS = 60, 3


@dataclass(frozen=True)
class Shares:
    """Shares of one process's time. The remainder to 1 is unaccounted."""

    edges_s: np.ndarray  # [N + 1]
    share: np.ndarray  # [K, N], by KINDS

    @property
    def overall(self) -> np.ndarray:
        """Over the whole time, [K]."""
        return (self.share * np.diff(self.edges_s)).sum(1) / (self.edges_s[-1] - self.edges_s[0])


def shares_of(run: RunRecord) -> dict[str, Shares]:
    """By process, in recorded order; empty for an inline run."""
    processes = [name.split("/")[1] for name in run.metrics if name.startswith("time/") and name.endswith("/busy_s")]
    return {process: _shares(run, process) for process in processes}


def _shares(run: RunRecord, process: str) -> Shares:
    times_s = run.series(f"time/{process}/busy_s").times_s
    totals = [run.series(f"time/{process}/{kind}_s").values for kind in KINDS]
    known = min(len(times_s), *(len(total) for total in totals))  # an active run may be writing the last ones
    edges_s = np.concatenate([[0.0], times_s[:known]])
    counted = np.concatenate([np.zeros((len(KINDS), 1)), np.stack([total[:known] for total in totals])], axis=1)
    grown = np.diff(counted, axis=1)
    began_anew = (grown < 0).any(axis=0)
    grown[:, began_anew] = counted[:, 1:][:, began_anew]
    edges_s, grown = _binned(edges_s, grown)
    share = grown / np.diff(edges_s)
    return Shares(edges_s, share / np.maximum(1.0, share.sum(axis=0)))  # clocks differ slightly: the sum may exceed 1


def _binned(edges_s: np.ndarray, grown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge into at most _MOST_BINS intervals, none empty. grown: [K, N] seconds."""
    every = -(-grown.shape[1] // _MOST_BINS)
    starts = np.arange(0, grown.shape[1], every)
    edges_s = np.append(edges_s[starts], edges_s[-1])
    grown = np.add.reduceat(grown, starts, axis=1)
    kept = np.diff(edges_s) > 0
    return np.append(edges_s[:-1][kept], edges_s[-1]), grown[:, kept]


def utilisation_picture(groups: Sequence[Group]) -> Picture | None:
    """Over time for one run, as bars for several; None if all ran inline."""
    runs = [run for group in groups for run in group.runs]
    found = {run.run_dir: shares_of(run) for run in runs}
    if not any(found.values()):
        return None
    title, name = "What each process does", "utilisation"
    if len(runs) == 1:
        words = "Shares of wall time between two records. Computing includes time in which the process was preempted."
        return Picture(name, title, words, _over_time(found[runs[0].run_dir], runs[0]))
    words = "Shares of wall time over whole runs, means over seeds."
    return Picture(name, title, words, _as_bars(groups, found))


def _over_time(shares: dict[str, Shares], run: RunRecord) -> bytes:
    columns = min(_COLUMNS, len(shares))
    figure, all_axes = panels(-(-len(shares) // columns), columns, row_in=2.2)
    clock = Clock(run.duration_s)
    for axes, (process, one) in zip(all_axes, shares.items(), strict=False):
        percent = 100 * np.concatenate([one.share, one.share[:, -1:]], axis=1)
        axes.stackplot(
            one.edges_s / clock.seconds, percent, colors=[colour for _, colour in KINDS.values()], step="post"
        )
        axes.set_facecolor(_OTHER[1])
        headed(axes, f"{process}: computes {100 * one.overall[0]:.0f} %")
        axes.set_ylim(0, 100)
        axes.set_ylabel("share of time (%)")
        clock.axis(axes)
        axes.set_xlim(0, one.edges_s[-1] / clock.seconds)
    for axes in all_axes[len(shares) :]:
        axes.set_axis_off()
    return finished(figure, _legend())


def _as_bars(groups: Sequence[Group], found: dict) -> bytes:
    rows = []
    for group in groups:
        processes = list(dict.fromkeys(process for run in group.runs for process in found[run.run_dir]))
        for process in processes:
            overall = [found[run.run_dir][process].overall for run in group.runs if process in found[run.run_dir]]
            rows.append((f"{group.label}: {process}" if len(groups) > 1 else process, np.mean(overall, axis=0)))
    figure, (axes,) = panels(1, 1, row_in=0.8 + 0.26 * len(rows))
    _draw_bars(axes, rows)
    return finished(figure, _legend())


def _draw_bars(axes: Axes, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    at = np.arange(len(rows))[::-1]
    start = np.zeros(len(rows))
    for kind, (_, colour) in enumerate(KINDS.values()):
        width = 100 * np.array([share[kind] for _, share in rows])
        axes.barh(at, width, left=start, color=colour, height=0.7)
        start += width
    axes.set_yticks(at, [label for label, _ in rows])
    axes.set_xlim(0, 100)
    axes.set_xlabel("share of time (%)")


def _legend() -> list[Patch]:
    return [Patch(facecolor=colour, edgecolor="#999999", label=label) for label, colour in (*KINDS.values(), _OTHER)]
