"""Aggregates and profile of all scores, and of EfficientZero's published scores of the same games."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from speedyzero.evaluate.human_normalised import benchmark_games, human_normalised
from speedyzero.experiments.atari100k.aggregates import (
    REPLICATES,
    Estimate,
    PerformanceProfile,
    aggregate,
    performance_profile,
)
from speedyzero.experiments.atari100k.outcome import GameOutcome

THRESHOLDS = 161
_FURTHEST = 8.0  # times a human's score; a longer axis would compress the middle
_NEAREST = 2.0


@dataclass(frozen=True)
class Summary:
    """Aggregates of human-normalised scores."""

    games: tuple[str, ...]  # with a score
    runs: int
    why_not: tuple[str, ...]  # why this is not the full benchmark; empty if it is
    aggregates: dict[str, Estimate]
    published: dict[str, Estimate]  # EfficientZero's, same games: one score per game, so no intervals
    profile: PerformanceProfile
    published_profile: PerformanceProfile

    def to_json(self) -> dict:
        def of_profile(profile: PerformanceProfile) -> dict:
            return {name: None if array is None else array.tolist() for name, array in vars(profile).items()}

        return {
            "is_the_benchmark": not self.why_not,
            "why_not": list(self.why_not),
            "games": list(self.games),
            "runs": self.runs,
            "aggregates": {name: asdict(one) for name, one in self.aggregates.items()},
            "efficientzero_published_of_the_same_games": {name: one.value for name, one in self.published.items()},
            "profile": of_profile(self.profile),
            "efficientzero_published_profile": of_profile(self.published_profile),
        }


def summarise(outcomes: Sequence[GameOutcome], why_not: Sequence[str], *, replicates: int = REPLICATES) -> Summary:
    """outcomes: one or more."""
    games = tuple(game for game in benchmark_games() if any(one.game == game for one in outcomes))
    ours = [np.array([one.human_normalised for one in outcomes if one.game == game]) for game in games]
    published = [human_normalised(game, benchmark_games()[game].efficientzero) for game in games]
    theirs = [np.array([score], np.float64) for score in published]
    scores = np.concatenate([*ours, *theirs])
    furthest = np.clip(1.05 * scores.max(), _NEAREST, _FURTHEST)
    thresholds = np.linspace(min(0.0, scores.min()) - 0.02, furthest, THRESHOLDS)  # from random play's or below
    return Summary(
        games=games,
        runs=len(outcomes),
        why_not=tuple(why_not),
        aggregates=aggregate(ours, replicates=replicates),
        published=aggregate(theirs),
        profile=performance_profile(ours, thresholds, replicates=replicates),
        published_profile=performance_profile(theirs, thresholds),
    )
