"""The curves of a report: score, losses, certainty, replay, speed. (Process utilisation: `utilisation.py`.)

One colour per group of seeds; for a single run the raw values are drawn pale behind their running mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from speedyzero.evaluate.human_normalised import reference_scores
from speedyzero.report.canvas import (
    Clock,
    count_axis,
    draw_line,
    draw_metric,
    finished,
    from_zero,
    headed,
    legend_of,
    nothing,
    panels,
)
from speedyzero.report.groups import Group, Line, combined, smoothed
from speedyzero.report.reading import RunRecord

GAMES_IN_A_MEAN = 20
_REFERENCE_STYLES: dict[str, tuple[Literal[":", "--", "-."], str]] = {
    "random play": (":", "random"),
    "human": ("--", "human"),
    "EfficientZero at 100k": ("-.", "efficientzero"),
}
_MOST_STRETCH = 4.0  # of the score axis to include a reference


@dataclass(frozen=True)
class Picture:
    name: str  # of its file, without .png
    title: str
    words: str  # how to read it
    png: bytes


def score_picture(groups: Sequence[Group], *, title: str = "Score", name: str = "score") -> Picture:
    """groups: of one game."""
    figure, (by_steps, by_time) = panels(1, 2, row_in=3.6)
    clock = Clock.of(groups)
    for group in groups:
        for axes, on_clock in ((by_steps, False), (by_time, True)):
            _draw_scores(axes, group, clock if on_clock else None)
    count_axis(by_steps, "env steps (agent's actions)")
    clock.axis(by_time)
    by_steps.set_ylabel("score of a game (raw reward)")
    runs = [run for group in groups for run in group.runs]
    evaluated = any(len(run.evaluations.mean) for run in runs)
    played = any(len(run.series("actor/game_score").values) for run in runs)
    handles = legend_of(groups)
    colour = groups[0].colour if len(groups) == 1 else "#444444"
    if evaluated:
        handles.append(Line2D([], [], color=colour, marker="o", markersize=4, label="evaluations, with 95% interval"))
    if played:
        label = f"games of actors, mean of {GAMES_IN_A_MEAN}"
        handles.append(Line2D([], [], color=colour, alpha=0.5, linewidth=0.9, label=label))
    if evaluated or played:
        handles += _draw_references((by_steps, by_time), groups[0].game)
        by_time.set_ylim(by_steps.get_ylim())
    else:
        for axes in (by_steps, by_time):
            nothing(axes, "no game has ended yet")
    words = (
        "Evaluations: full games by the newest weights without noise (dots). Training games, with noise (thin line). "
        "The interval is over episodes for one run, over seeds for several."
    )
    return Picture(name, title, words, finished(figure, handles))


def _draw_scores(axes: Axes, group: Group, clock: Clock | None) -> None:
    """clock: None for env steps on the x axis."""

    def evaluations(run: RunRecord) -> Line:
        found = run.evaluations
        x = found.env_steps if clock is None else found.times_s / clock.seconds
        if len(group.runs) > 1:
            return Line(x, found.mean)
        return Line(x, found.mean, found.low, found.high)

    def games(run: RunRecord) -> Line:
        series = run.series("actor/game_score")
        x = run.env_steps_by(series.times_s) if clock is None else series.times_s / clock.seconds
        return smoothed(Line(x, series.values), GAMES_IN_A_MEAN)

    draw_line(axes, combined(group, games), colour=group.colour, alpha=0.5, linewidth=0.9)
    line = combined(group, evaluations)
    if line is not None and len(group.runs) == 1 and line.low is not None and line.high is not None:
        spread = np.nan_to_num(np.stack([line.y - line.low, line.high - line.y]))
        axes.errorbar(line.x, line.y, yerr=spread, fmt="none", ecolor=group.colour, capsize=2, linewidth=1)
        line = Line(line.x, line.y)
    draw_line(axes, line, colour=group.colour, marker="o")


def _draw_references(all_axes: Sequence[Axes], game: str) -> list[Line2D]:
    """Draw published scores as horizontal lines; those that would flatten the curves appear only in the legend."""
    known = reference_scores(game)
    if known is None:
        return []
    low, high = all_axes[0].get_ylim()
    handles = []
    for label, (style, field) in _REFERENCE_STYLES.items():
        level = getattr(known, field)
        is_near = max(high, level) - min(low, level) <= _MOST_STRETCH * (high - low)
        for axes in all_axes if is_near else ():
            axes.axhline(level, color="#777777", linestyle=style, linewidth=1)
        words = f"{label} ({level:g}{'' if is_near else ', beyond the axis'})"
        handles.append(Line2D([], [], color="#777777", linestyle=style, label=words))
    return handles


@dataclass(frozen=True)
class _Panel:
    metric: str
    title: str
    unit: str
    dashed: str = ""  # a second metric in the same panel
    from_zero: bool = False
    smooth: bool = True


def loss_picture(groups: Sequence[Group]) -> Picture:
    cross_entropy = "cross-entropy (nats a sample)"
    plan = [
        _Panel("learner/loss", "total, weighted", "weighted loss (a sample)"),
        _Panel("learner/prefix_loss", "value prefix (or reward)", cross_entropy, from_zero=True),
        _Panel("learner/value_loss", "value", cross_entropy, from_zero=True),
        _Panel("learner/policy_loss", "policy", cross_entropy, from_zero=True),
        _Panel("learner/consistency_loss", "consistency", "-cosine (a sample)"),
        _Panel("learner/learning_rate", "learning rate", "step size", from_zero=True, smooth=False),
    ]
    words = "Sums over the unrolled steps, unweighted. The policy loss cannot fall below the entropy of its targets."
    return Picture("losses", "Losses", words, _drawn(plan, groups, rows=2))


def certainty_picture(groups: Sequence[Group]) -> Picture:
    plan = [
        _Panel(
            "learner/policy_entropy",
            "policy: network —, search - -",
            "entropy (nats)",
            "learner/target_policy_entropy",
            from_zero=True,
        ),
        _Panel("learner/value_entropy", "value, over its bins", "entropy (nats)", from_zero=True),
        _Panel("learner/predicted_root_value", "value that the network predicts", "discounted reward"),
    ]
    words = (
        "On sampled positions. Entropy falls as the policy becomes more certain; if it is 0 early, exploration has "
        "stopped. The search's policy (dashed) is the network's target."
    )
    return Picture("certainty", "Policy and value", words, _drawn(plan, groups, rows=1))


def knowledge_picture(groups: Sequence[Group]) -> Picture:
    plan = [
        _Panel("actor/value_return_correlation", "values and returns", "correlation"),
        _Panel(
            "actor/policy_information",
            "policy's information: network —, search - -",
            "nats",
            "actor/search_information",
            from_zero=True,
        ),
        _Panel("actor/prior_agreement", "network and search agree on the action", "share of positions", from_zero=True),
        _Panel("actor/q_spread", "spread of Q over the actions", "discounted reward", from_zero=True),
        _Panel("learner/policy_information", "policy's information on sampled positions", "nats", from_zero=True),
        _Panel("learner/projection_similarity", "projections of two positions", "mean cosine"),
    ]
    words = (
        "On positions as they are played, before training on them; the last two on sampled positions. An agent whose "
        "values do not correlate with the returns, or whose policy has no information about the position, has learnt "
        "nothing of the game, whatever its score. Projections near 1: the consistency loss has collapsed."
    )
    return Picture("knowledge", "Does it look?", words, _drawn(plan, groups, rows=2))


def replay_picture(groups: Sequence[Group]) -> Picture:
    plan = [
        _Panel(
            "reanalyzer/priority_age_median",
            "age of priorities: median —, oldest - -",
            "train steps",
            "reanalyzer/priority_age_max",
            from_zero=True,
        ),
        _Panel(
            "reanalyzer/refreshed_share", "priorities refreshed by newest weights", "share of positions", from_zero=True
        ),
        _Panel("reanalyzer/refresh_rank_correlation", "old and refreshed priorities", "rank correlation"),
        _Panel("reanalyzer/eligible_positions", "replay", "positions to sample from", from_zero=True, smooth=False),
        _Panel("learner/batch_age", "age of batches when learned from", "train steps", from_zero=True),
        _Panel("learner/target_lag", "age of the network that makes targets", "train steps", from_zero=True),
    ]  # of the first shard
    words = "The age of the learner's input. With several shards: of the first."
    return Picture("replay", "Replay and staleness", words, _drawn(plan, groups, rows=2))


def _drawn(plan: Sequence[_Panel], groups: Sequence[Group], *, rows: int) -> bytes:
    figure, all_axes = panels(rows, len(plan) // rows)
    for axes, panel in zip(all_axes, plan, strict=True):
        headed(axes, panel.title)
        drawn = draw_metric(axes, groups, panel.metric, smooth=panel.smooth)
        if panel.dashed:
            drawn |= draw_metric(axes, groups, panel.dashed, style="--")
        if not drawn:
            nothing(axes)
            continue
        count_axis(axes, "train steps")
        axes.set_ylabel(panel.unit)
        if panel.from_zero:
            from_zero(axes)
    return finished(figure, legend_of(groups))


def speed_picture(groups: Sequence[Group]) -> Picture:
    figure, (played, learned, rate) = panels(1, 3)
    clock = Clock.of(groups)

    def progress(run: RunRecord, *, train: bool) -> Line:
        if train:
            series = run.series("learner/loss")
            return Line(series.times_s / clock.seconds, series.steps.astype(np.float64))
        times_s = np.linspace(0, run.duration_s, 100)
        return Line(times_s / clock.seconds, run.env_steps_by(times_s))

    for group in groups:
        draw_line(played, combined(group, lambda run: progress(run, train=False)), colour=group.colour)
        draw_line(learned, combined(group, lambda run: progress(run, train=True)), colour=group.colour)
        draw_line(rate, combined(group, lambda run: _rate(progress(run, train=True), clock)), colour=group.colour)
    for axes, title, unit in (
        (played, "played", "env steps"),
        (learned, "learned", "train steps"),
        (rate, "speed of learning", "train steps per second"),
    ):
        headed(axes, title)
        axes.set_ylabel(unit)
        from_zero(axes)
        clock.axis(axes)
    words = "Play and learning are paced together, so both grow alike; flat stretches: head start, saves or waits."
    return Picture("speed", "Speed", words, finished(figure, legend_of(groups)))


def _rate(progress: Line, clock: Clock) -> Line:
    """Train steps per second in 40 equal intervals of the time."""
    if len(progress.x) < 3 or progress.x[0] == progress.x[-1]:
        return Line(np.zeros(0), np.zeros(0))
    edges = np.linspace(progress.x[0], progress.x[-1], 41)
    steps = np.interp(edges, progress.x, progress.y)
    return Line((edges[1:] + edges[:-1]) / 2, np.diff(steps) / np.diff(edges) / clock.seconds)
