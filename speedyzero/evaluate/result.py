"""The result of an evaluation, with its uncertainty and protocol.

Axes: N episodes, A actions.
"""

from dataclasses import dataclass

import numpy as np

from speedyzero.evaluate.human_normalised import human_normalised

_RESAMPLES = 10_000


@dataclass(frozen=True)
class EvaluationResult:
    """Raw scores of full games."""

    game: str
    episode_scores: np.ndarray  # [N] float64, raw
    episode_lengths: np.ndarray  # [N] int64, agent steps
    mean: float
    std: float  # over episodes, N - 1 degrees of freedom; 0 for one episode
    ci95: tuple[float, float] | None  # of the mean, by bootstrap; None for one episode
    human_normalised: float | None  # of the mean; None without reference scores or if a game was cut off
    action_shares: np.ndarray  # [A] float64: relative frequency of each action
    policy_information: float  # nats, `observe/information.py`; 0: the same policy everywhere
    protocol: dict  # as JSON

    @property
    def human_normalised_ci95(self) -> tuple[float, float] | None:
        """Interval of the human-normalised mean; None if either is."""
        if self.human_normalised is None or self.ci95 is None:
            return None
        bounds = [human_normalised(self.game, bound) for bound in self.ci95]
        assert bounds[0] is not None and bounds[1] is not None
        return bounds[0], bounds[1]

    def to_json(self) -> dict:
        normalised_ci95 = self.human_normalised_ci95
        return {
            "game": self.game,
            "mean": self.mean,
            "std": self.std,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "human_normalised": self.human_normalised,
            "human_normalised_ci95": None if normalised_ci95 is None else list(normalised_ci95),
            "episodes": len(self.episode_scores),
            "episode_scores": self.episode_scores.tolist(),
            "episode_lengths": self.episode_lengths.tolist(),
            "action_shares": self.action_shares.tolist(),
            "policy_information": self.policy_information,
            "protocol": self.protocol,
        }

    def __str__(self) -> str:
        text = f"{self.mean:.6g}"
        if self.ci95 is not None:
            text += f" (95% interval {self.ci95[0]:.6g} to {self.ci95[1]:.6g}, std {self.std:.4g})"
        if self.human_normalised is not None:
            text += f", {self.human_normalised:.3f} human-normalised"
        if (normalised := self.human_normalised_ci95) is not None:
            text += f" ({normalised[0]:.3f} to {normalised[1]:.3f})"
        episodes = len(self.episode_scores)
        return text + f", over {episodes} episode{'s' if episodes > 1 else ''}"


def bootstrap_ci95(scores: np.ndarray) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of scores [N] (Efron, 1979), deterministic; None for N = 1."""
    if len(scores) < 2:
        return None
    rows = np.random.default_rng(0).integers(len(scores), size=(_RESAMPLES, len(scores)))
    low, high = np.quantile(scores[rows].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def mean_and_interval(values: np.ndarray) -> str:
    """The mean of values [N], one per seed, with its 95% bootstrap interval, as "1.20 (0.50 to 2.00)"."""
    interval = bootstrap_ci95(values)
    digits = 2 if np.abs(values).max() < 10 else 1
    mean = f"{values.mean():.{digits}f}"
    return mean if interval is None else f"{mean} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
