"""The report's pictures: scores, policy and value. One colour per group of seeds; everything else is TensorBoard's."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from speedyzero.evaluate.human_normalised import reference_scores
from speedyzero.report.groups import Group
from speedyzero.report.lines import GAMES_IN_A_MEAN, Clock, Line, combined, evaluations, games, metric
from speedyzero.report.reading import RunRecord

WIDTH_IN, DPI = 11.6, 150  # shown 1,160 px wide: sharp on a screen of finer pixels, too
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "legend.frameon": False,
}
_GREY = "#777777"
_REFERENCES: tuple[tuple[str, Literal[":", "--", "-."], str], ...] = (
    ("random play", ":", "random"),
    ("human", "--", "human"),
    ("EfficientZero at 100k", "-.", "efficientzero"),
)


@dataclass(frozen=True)
class Picture:
    name: str  # of its file, without .png
    title: str
    note: str  # how to read it
    png: bytes


@dataclass(frozen=True)
class _Panel:
    metric: str
    title: str
    unit: str
    dashed: str = ""  # a second metric in the same panel


_POLICY_AND_VALUE = (
    _Panel("actor/value_return_correlation", "values and returns", "correlation"),
    _Panel("actor/policy_information", "information: network -, search - -", "nats", "actor/search_information"),
    _Panel("actor/prior_agreement", "network and search agree on the action", "share of positions"),
    _Panel("actor/q_spread", "spread of Q over the actions", "discounted reward"),
    _Panel("learner/policy_entropy", "entropy: network -, search - -", "nats", "learner/target_policy_entropy"),
    _Panel("learner/projection_similarity", "projections of two positions", "mean cosine"),
)


def draw(groups: Sequence[Group]) -> list[Picture]:
    """All pictures, in the page's order."""
    games = dict.fromkeys(group.game for group in groups)
    scores = [draw_scores(game, [group for group in groups if group.game == game]) for game in games]
    return [*scores, _policy_and_value(groups)]


@matplotlib.rc_context(_STYLE)
def draw_scores(game: str, groups: Sequence[Group]) -> Picture:
    """Scores by env steps and by time, of one game."""
    figure, (by_steps, by_time) = _panels(1, 2, row_in=3.6)
    _draw_scores(by_steps, groups, RunRecord.env_steps_by)
    _draw_scores(by_time, groups, lambda _, times_s: times_s / 60)
    by_steps.set(xlabel="env steps (agent's actions)", xlim=(0, None), ylabel="score of a game (raw reward)")
    by_steps.xaxis.set_major_formatter(EngFormatter(sep=""))
    by_time.set(xlabel="time at work (minutes)", xlim=(0, None))
    handles = _legend(groups)
    if by_steps.has_data():
        colour = groups[0].colour if len(groups) == 1 else _GREY
        games_label = f"actors' games, mean of {GAMES_IN_A_MEAN}"
        handles.append(Line2D([], [], color=colour, marker="o", label="evaluations, with 95% interval"))
        handles.append(Line2D([], [], color=colour, alpha=0.5, linewidth=0.9, label=games_label))
        handles += _draw_references((by_steps, by_time), game)
    else:
        _mark_empty((by_steps, by_time), "no game has ended yet")
    note = (
        "Evaluations: full games by the newest weights without noise (dots). Training games, with noise (thin line). "
        "The interval is over episodes for one run, over seeds for several."
    )
    name = "".join(c if c.isalnum() else "-" for c in game)
    return Picture(f"score-{name}", f"Score in {game}", note, _png(figure, handles))


def _draw_scores(axes: Axes, groups: Sequence[Group], clock: Clock) -> None:
    for group in groups:
        played = combined(group, lambda run: games(run, clock))
        _draw(axes, played, color=group.colour, alpha=0.5, linewidth=0.9)
        evaluated = combined(group, lambda run: evaluations(run, clock))
        _draw(axes, evaluated, bars=len(group.runs) == 1, color=group.colour, marker="o")


def _draw_references(all_axes: Sequence[Axes], game: str) -> list[Line2D]:
    """Draw published scores as horizontal lines where they are within the axes; returns the legend of all of them."""
    known, handles = reference_scores(game), []
    for axes in all_axes:
        axes.set_ylim(axes.get_ylim())  # a line does not widen them
    for label, style, field in _REFERENCES if known else ():
        level = getattr(known, field)
        for axes in all_axes:
            axes.axhline(level, color=_GREY, linestyle=style, linewidth=1)
        handles.append(Line2D([], [], color=_GREY, linestyle=style, label=f"{label} ({level:g})"))
    return handles


@matplotlib.rc_context(_STYLE)
def _policy_and_value(groups: Sequence[Group]) -> Picture:
    """Over train steps, smoothed; for a single run with pale raw values."""
    figure, all_axes = _panels(2, 3, row_in=2.6)
    for axes, panel in zip(all_axes, _POLICY_AND_VALUE, strict=True):
        axes.set_title(panel.title)
        for name, style in ((panel.metric, "-"), (panel.dashed, "--")):
            for group in groups:
                if len(group.runs) == 1:
                    raw = metric(group.runs[0], name, raw=True)
                    _draw(axes, raw, color=group.colour, linestyle=style, alpha=0.25, linewidth=0.8)
                line = combined(group, partial(metric, name=name))
                _draw(axes, line, color=group.colour, linestyle=style)
        if axes.has_data():
            axes.set(xlabel="train steps", ylabel=panel.unit, xlim=(0, None))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        else:
            _mark_empty([axes], "not recorded")
    note = (
        "On positions as they are played, before training on them; entropy and projections on sampled positions. An "
        "agent whose values do not correlate with the returns, or whose policy has no information about the position, "
        "has learnt nothing of the game, whatever its score. Projections near 1: the consistency loss has collapsed."
    )
    return Picture("policy-and-value", "Policy and value", note, _png(figure, _legend(groups)))


def _panels(rows: int, columns: int, *, row_in: float) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row."""
    figure = Figure(figsize=(WIDTH_IN, row_in * rows + 0.4), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _draw(axes: Axes, line: Line | None, *, bars: bool = False, **options) -> None:
    """A line with its interval, as a band or as bars; a single point as a dot."""
    if line is None or not len(line.x):
        return
    if len(line.x) == 1:
        options["marker"] = "o"
    axes.plot(line.x, line.y, **options)
    if line.low is None or line.high is None:
        return
    if bars:
        axes.vlines(line.x, line.low, line.high, color=options["color"], linewidth=1)
    else:
        axes.fill_between(line.x, line.low, line.high, color=options["color"], alpha=0.18, linewidth=0)


def _mark_empty(all_axes: Sequence[Axes], why: str) -> None:
    for axes in all_axes:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=_GREY)


def _legend(groups: Sequence[Group]) -> list[Line2D]:
    """A line for each group; none for a single run."""
    if len(groups) == 1 and len(groups[0].runs) == 1:
        return []
    labels = [f"{group.label} ({len(group.runs)} seeds)" if len(group.runs) > 1 else group.label for group in groups]
    return [Line2D([], [], color=group.colour, label=label) for group, label in zip(groups, labels, strict=True)]


def _png(figure: Figure, handles: Sequence[Line2D]) -> bytes:
    """handles: of the legend above the panels."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(len(handles), 150 // (longest + 8)))
        figure.legend(handles=list(handles), loc="outside upper left", ncols=columns, fontsize=8.5)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    return picture.getvalue()
