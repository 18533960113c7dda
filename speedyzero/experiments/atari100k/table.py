"""The benchmark as Markdown: headline, one row per game, the aggregates, and missing runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from speedyzero.evaluate.human_normalised import benchmark_games
from speedyzero.evaluate.result import mean_and_interval
from speedyzero.experiments.atari100k.aggregates import Estimate
from speedyzero.experiments.atari100k.outcome import GameOutcome
from speedyzero.experiments.atari100k.standing import counted, headline
from speedyzero.experiments.atari100k.summary import Summary

COLUMNS = (
    "game", "random", "human", "EfficientZero", "at 1.2M frames", "ours", "human-normalised", "blind twin", "nats",
    "seeds", "minutes",
)  # fmt: skip
NAMES = {"mean": "mean", "median": "median", "iqm": "IQM", "optimality_gap": "optimality gap (lower is better)"}
LEGEND = (
    "Raw scores of the final weights, not the best. Ours: mean over seeds (95% bootstrap interval of that mean; of few "
    "seeds it is too narrow). EfficientZero: as published (Ye et al. 2021). Human-normalised: 0 is random play, 1 a "
    "human. At 1.2M frames: an evaluation on the way. Blind twin: random actions at the agent's frequencies; "
    "nats: what its policy knows of the position. Minutes: of training, a run."
)


def table_of(
    games: Sequence[str], seeds: int, outcomes: Sequence[GameOutcome], missing: Mapping[str, str], summary: Summary
) -> str:
    """games, seeds: requested; one row per game. outcomes: one or more. missing: reasons by run."""
    first = headline(summary.why_not, seeds)
    rows = [_row(game, [one for one in outcomes if one.game == game]) for game in games]
    table = "\n".join([_line(COLUMNS), "|---" * len(COLUMNS) + "|", *rows])
    blocks = [first, table, LEGEND, _aggregates(summary, first)]
    if missing:
        entries = [f"- {what}: {why}" for what, why in missing.items()]
        blocks.append("\n".join([f"Without a score ({len(missing)} of {len(games) * seeds} runs):", "", *entries]))
    cut = sum(one.protocol["truncated_episodes"] for one in outcomes)
    if cut:
        blocks.append(
            f"Cut off by the evaluation's frame limit, their score till then counted: {counted(cut, 'episode')}."
        )
    return "\n\n".join(blocks) + "\n"


def _row(game: str, runs: Sequence[GameOutcome]) -> str:
    reference = benchmark_games()[game]
    known = [f"{score:g}" for score in (reference.random, reference.human, reference.efficientzero)]
    if not runs:
        return _line([game, *known, "", "missing", "missing", "", "", "0", ""])
    score = mean_and_interval(np.array([one.score for one in runs]))
    normalised = mean_and_interval(np.array([one.human_normalised for one in runs]))
    minutes = np.mean([one.train_s for one in runs]) / 60
    early, twin = (_mean([getattr(one, name) for one in runs], "g") for name in ("early_score", "blind_twin"))
    nats = _mean([one.policy_information for one in runs], ".2f")
    return _line([game, *known, early, score, normalised, twin, nats, f"{len(runs)}", f"{minutes:.1f}"])


def _mean(values: Sequence[float | None], form: str) -> str:
    """Empty if any run lacks the value."""
    known = [value for value in values if value is not None]
    return f"{np.round(np.mean(known), 2):{form}}" if known and len(known) == len(values) else ""


def _aggregates(summary: Summary, warning: str) -> str:
    lines = [
        f"Aggregates of human-normalised scores over {counted(len(summary.games), 'game')}, "
        f"{counted(summary.runs, 'run')} (95% stratified bootstrap intervals, Agarwal et al. 2021):",
        "",
        _line(("aggregate", "ours", "EfficientZero, published, same games")),
        "|---|---|---|",
    ]
    for name, text in NAMES.items():
        lines.append(_line([text, _estimate(summary.aggregates[name]), f"{summary.published[name].value:.3f}"]))
    if summary.why_not:
        lines += ["", warning]
    return "\n".join(lines)


def _estimate(estimate: Estimate) -> str:
    if estimate.ci95 is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.ci95[0]:.3f} to {estimate.ci95[1]:.3f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
