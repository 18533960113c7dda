"""The benchmark's plots: performance profile with bands, and aggregates with intervals beside published values."""

from pathlib import Path

from matplotlib.figure import Figure

from speedyzero.experiments.atari100k.standing import counted
from speedyzero.experiments.atari100k.summary import Summary

OURS, THEIRS, WARNING = "tab:blue", "tab:orange", "firebrick"
PUBLISHED = "EfficientZero (published)"
_TITLES = {"median": "Median", "iqm": "IQM", "mean": "Mean", "optimality_gap": "Optimality gap\n(lower is better)"}


def draw_profile(summary: Summary, path: Path) -> None:
    """Write a PNG: the share of runs above each human-normalised score."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    ours, theirs = summary.profile, summary.published_profile
    if ours.low is not None and ours.high is not None:
        axes.fill_between(ours.thresholds, ours.low, ours.high, step="post", color=OURS, alpha=0.2, linewidth=0)
    axes.plot(ours.thresholds, ours.share, drawstyle="steps-post", color=OURS, label=f"ours, {_of_what(summary)}")
    label = f"{PUBLISHED}, {counted(len(summary.games), 'score')}"
    axes.plot(theirs.thresholds, theirs.share, drawstyle="steps-post", color=THEIRS, linestyle="--", label=label)
    axes.axvline(1.0, color="grey", linewidth=0.8)
    axes.annotate("human", (1.0, 1.02), xytext=(4, 0), textcoords="offset points", color="grey", fontsize="small")
    axes.set(
        xlabel="human-normalised score t (0: random play)",
        ylabel="share of runs with a score above t",
        ylim=(-0.02, 1.08),
        xlim=(ours.thresholds[0], ours.thresholds[-1]),
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", fontsize="small")
    _entitle(figure, "Performance profile with pointwise 95% bands", summary)
    figure.savefig(path, dpi=110)


def draw_aggregates(summary: Summary, path: Path) -> None:
    """Write a PNG with a panel for each aggregate."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, len(_TITLES)), _TITLES.items(), strict=True):
        ours, theirs = summary.aggregates[name], summary.published[name].value
        axes.bar([0], [ours.value], color=OURS, alpha=0.6, width=0.6)
        if ours.ci95 is not None:
            middle = sum(ours.ci95) / 2
            axes.errorbar([0], [middle], yerr=[ours.ci95[1] - middle], color="black", capsize=6, linewidth=1.2)
        axes.plot([1], [theirs], marker="D", color=THEIRS, linestyle="none")
        for x, value, top in ((0, ours.value, max(ours.value, *(ours.ci95 or (0.0,)), 0.0)), (1, theirs, theirs)):
            axes.annotate(f"{value:.2f}", (x, top), xytext=(0, 7), textcoords="offset points", ha="center")
        axes.axhline(0.0, color="grey", linewidth=0.8)
        axes.margins(y=0.2)
        axes.set(title=title, xlim=(-0.6, 1.6), xticks=[0, 1], xticklabels=["ours", "EfficientZero\n(published)"])
        axes.grid(alpha=0.3, axis="y")
    figure.supylabel("human-normalised score", fontsize="medium")
    _entitle(figure, f"Aggregates with 95% bootstrap intervals: {_of_what(summary)}", summary)
    figure.savefig(path, dpi=110)


def _of_what(summary: Summary) -> str:
    return f"{counted(summary.runs, 'run')} of {counted(len(summary.games), 'game')}"


def _entitle(figure: Figure, title: str, summary: Summary) -> None:
    """Set the title, which marks partial results as such: plots get shared without the table."""
    if summary.why_not:
        marked = f"{title}\nNOT a result of the Atari 100k benchmark: table.md states why"
        figure.suptitle(marked, fontsize="small", color=WARNING)
    else:
        figure.suptitle(f"Atari 100k. {title}", fontsize="medium")
