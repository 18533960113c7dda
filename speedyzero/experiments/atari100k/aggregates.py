"""Aggregates and performance profiles of scores over games and runs, with intervals.

Mean, median, interquartile mean (IQM), optimality gap, performance profiles and the stratified bootstrap as in Agarwal
et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264). numpy alone;
`rliable`, those authors' library, agrees (tests/experiments/atari100k/test_rliable.py).

Scores are human-normalised, one array per game. If games have different numbers of runs, the IQM and the profile weigh
runs equally, the other aggregates games.

Axes: G games, R runs of one game, N runs of all games, B bootstrap replicates, T thresholds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Scores = Sequence[np.ndarray]
"""G arrays [..., R] float64; leading axes are replicates."""

TRIMMED_SHARE = 0.25
GAP_BELOW = 1.0  # a human's score: scores above it count as equal to it
REPLICATES = 10_000
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% percentile bootstrap interval; None if no game has two runs."""

    value: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class PerformanceProfile:
    """The share of runs that score above each threshold, with pointwise 95% bands."""

    thresholds: np.ndarray  # [T] float64
    share: np.ndarray  # [T] float64, 0 to 1
    low: np.ndarray | None  # [T]; None if no game has two runs
    high: np.ndarray | None


def mean(scores: Scores) -> np.ndarray:
    """The mean of the games' means, [...]."""
    return _game_means(scores).mean(axis=-1)


def median(scores: Scores) -> np.ndarray:
    """The median of the games' means, [...]."""
    return np.median(_game_means(scores), axis=-1)


def interquartile_mean(scores: Scores) -> np.ndarray:
    """The mean of the middle half of all runs of all games, [...]: floor(N / 4) are dropped at either end."""
    runs = np.sort(np.concatenate(list(scores), axis=-1), axis=-1)
    cut = int(TRIMMED_SHARE * runs.shape[-1])
    return runs[..., cut : runs.shape[-1] - cut].mean(axis=-1)


def optimality_gap(scores: Scores) -> np.ndarray:
    """The mean shortfall of runs below a human's score, [...]; lower is better."""
    return GAP_BELOW - _game_means([np.minimum(game, GAP_BELOW) for game in scores]).mean(axis=-1)


AGGREGATES: Mapping[str, Callable[[Scores], np.ndarray]] = {
    "mean": mean,
    "median": median,
    "iqm": interquartile_mean,
    "optimality_gap": optimality_gap,
}


def aggregate(scores: Scores, *, replicates: int = REPLICATES, seed: int = 0) -> dict[str, Estimate]:
    """Every aggregate by name. scores: G arrays [R], at least one of each."""
    resampled = resample(scores, replicates=replicates, seed=seed) if _can_be_resampled(scores) else None
    estimates = {}
    for name, of in AGGREGATES.items():
        low_and_high = None if resampled is None else np.quantile(of(resampled), _QUANTILES)
        interval = None if low_and_high is None else (float(low_and_high[0]), float(low_and_high[1]))
        estimates[name] = Estimate(float(of(scores)), interval)
    return estimates


def performance_profile(
    scores: Scores, thresholds: np.ndarray, *, replicates: int = REPLICATES, seed: int = 0
) -> PerformanceProfile:
    """The run-score distribution (section 4.3). scores: G arrays [R]; thresholds: [T]."""
    share = _shares_above(scores, thresholds)
    if not _can_be_resampled(scores):
        return PerformanceProfile(thresholds, share, None, None)
    low, high = np.quantile(
        _shares_above(resample(scores, replicates=replicates, seed=seed), thresholds), _QUANTILES, 1
    )
    return PerformanceProfile(thresholds, share, low, high)


def resample(scores: Scores, *, replicates: int, seed: int) -> list[np.ndarray]:
    """Stratified: runs are drawn with replacement within each game. G arrays [R] -> G arrays [B, R]."""
    rng = np.random.default_rng(seed)
    return [game[rng.integers(len(game), size=(replicates, len(game)))] for game in scores]


def _game_means(scores: Scores) -> np.ndarray:
    """G arrays [..., R] -> [..., G]."""
    return np.stack([game.mean(axis=-1) for game in scores], axis=-1)


def _shares_above(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """G arrays [..., R], [T] -> [T, ...]. One threshold at a time: all comparisons at once would take gigabytes."""
    runs = np.concatenate(list(scores), axis=-1)
    return np.stack([np.count_nonzero(runs > threshold, axis=-1) / runs.shape[-1] for threshold in thresholds])


def _can_be_resampled(scores: Scores) -> bool:
    """Games with a single run have no spread to resample."""
    return any(len(game) > 1 for game in scores)
