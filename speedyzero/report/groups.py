"""Groups of runs that differ only in their seeds: a label and a colour each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speedyzero.config import get
from speedyzero.config.declare import EXECUTION
from speedyzero.config.settings import SETTINGS, used_as
from speedyzero.report.reading import RunRecord

# The colour-blind-safe palette of Okabe and Ito, without yellow, which is invisible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
_SHOWN_SETTINGS = 2
# Runs that differ in the seed, or in how they were carried out, share a curve.
_NOT_COMPARED = used_as(EXECUTION) - {"preset"} | {"seed"}
_COMPARED = [path for path in SETTINGS if path not in _NOT_COMPARED]


@dataclass(frozen=True)
class Group:
    label: str
    colour: str
    runs: tuple[RunRecord, ...]

    @property
    def game(self) -> str:
        return self.runs[0].config.env.game

    @property
    def newest_means(self) -> np.ndarray:
        """The newest mean score of each run that was evaluated, [R]."""
        return np.array([run.scores[-1]["mean"] for run in self.runs if run.scores])


def group_runs(runs: Sequence[RunRecord]) -> list[Group]:
    """Groups in the order of their first runs."""
    by_settings: dict[tuple, list[RunRecord]] = {}
    for run in runs:
        by_settings.setdefault(tuple(str(get(run.config, path)) for path in _COMPARED), []).append(run)
    labels = _labels([group[0] for group in by_settings.values()])
    return [
        Group(label, COLOURS[i % len(COLOURS)], tuple(group))
        for i, (label, group) in enumerate(zip(labels, by_settings.values(), strict=True))
    ]


def differing(runs: Sequence[RunRecord]) -> list[str]:
    """The compared settings in which runs differ."""
    return [path for path in _COMPARED if len({str(get(run.config, path)) for run in runs}) > 1]


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
