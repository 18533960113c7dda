"""Learning curves of an ablation by train steps and by training time, with 95% bootstrap intervals.

Axes: N evaluations, R runs of one arm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.experiments.ablate.outcome import AblationOutcome
from speedyzero.experiments.ablate.table import by_arm


@dataclass(frozen=True)
class Curve:
    """An arm's mean over its runs. `clock_s` is the median run's training time at each step."""

    steps: np.ndarray  # [N] float64
    clock_s: np.ndarray  # [N]
    mean: np.ndarray  # [N]
    low: np.ndarray  # [N], of the interval; the mean itself for one run
    high: np.ndarray  # [N]


def curve_of(runs: Sequence[AblationOutcome]) -> Curve:
    """Over the train steps at which any run was evaluated; linear interpolation in between."""
    steps = np.unique(np.concatenate([run.steps for run in runs])).astype(np.float64)
    steps = steps[(steps >= max(run.steps[0] for run in runs)) & (steps <= min(run.steps[-1] for run in runs))]
    scores = np.stack([np.interp(steps, run.steps, run.scores) for run in runs])  # [R, N]
    clocks_s = np.stack([np.interp(steps, run.steps, run.clock_s) for run in runs])
    intervals = [bootstrap_ci95(column) or (column[0], column[0]) for column in scores.T]
    low, high = np.array(intervals).T
    return Curve(steps, np.median(clocks_s, axis=0), scores.mean(axis=0), low, high)


def draw_curves(outcomes: Sequence[AblationOutcome], path: Path, *, title: str) -> None:
    """Write a PNG with both panels."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    by_steps, by_clock = figure.subplots(1, 2, sharey=True)
    for arm, runs in by_arm(outcomes).items():
        curve = curve_of(runs)
        for axes, x in ((by_steps, curve.steps), (by_clock, curve.clock_s)):
            (line,) = axes.plot(x, curve.mean, marker=".", label=f"{arm} ({len(runs)})")
            axes.fill_between(x, curve.low, curve.high, color=line.get_color(), alpha=0.2, linewidth=0)
    by_steps.set(xlabel="train steps", ylabel="score", title=title)
    by_clock.set(xlabel="seconds of training (median run)")
    for axes in (by_steps, by_clock):
        axes.grid(alpha=0.3)
    by_steps.legend(fontsize="small")
    figure.savefig(path, dpi=90)
