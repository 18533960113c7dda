"""Metrics of the positions an actor plays, which show early whether its network learns from its input.

Computed while acting, on positions not yet trained on. An agent whose values are unrelated to the returns, or whose
policy is the same everywhere, has learnt nothing, whatever its score. Called by the actor.

Axes: E lanes, W ticks of a window, A actions, N positions.
"""

import math
from dataclasses import dataclass

import numpy as np

from speedyzero.observe.information import information

WINDOW_TICKS = 200
LONGEST_TAIL_TICKS = 100


@dataclass(frozen=True)
class PlayedTick:
    value: np.ndarray  # [E] float32: the network's, of the position
    prior: np.ndarray  # [E, A] float32: the network's policy
    policy: np.ndarray  # [E, A] float32: the search's policy
    q_values: np.ndarray  # [E, A] float32: of the search's root
    visits: np.ndarray  # [E, A]
    reward: np.ndarray  # [E] float32: of the action
    is_position: np.ndarray  # [E] bool: False where a lane only started a new game
    ended: np.ndarray  # [E] bool: the episode, or the life, ended with this action
    cut: np.ndarray  # [E] bool: the episode was truncated, so its return is unknown


class PlayFigures:
    """Metrics of one actor by window."""

    def __init__(self, discount: float):
        self._discount = discount
        # Ticks at the end of a window, whose returns are not known yet: they begin the next one.
        self._tail = min(LONGEST_TAIL_TICKS, math.ceil(2.0 / max(1.0 - discount, 1e-9)))
        self._ticks: list[PlayedTick] = []

    def add(self, tick: PlayedTick) -> dict[str, float]:
        """The metrics of a window that this tick completes, by name; otherwise empty."""
        self._ticks.append(tick)
        if len(self._ticks) < WINDOW_TICKS + self._tail:
            return {}
        window, self._ticks = self._ticks, self._ticks[WINDOW_TICKS:]
        value, target = self._known_returns(window)
        return {**value_figures(value, target), **policy_figures(window[:WINDOW_TICKS])}

    def _known_returns(self, window: list[PlayedTick]) -> tuple[np.ndarray, np.ndarray]:
        """Values and discounted returns, [N] each, of the positions in WINDOW_TICKS that were not truncated."""
        ticks, lanes = len(window), len(window[0].value)
        total, is_known = np.zeros(lanes), np.ones(lanes, bool)
        returns, known = np.zeros((ticks, lanes)), np.zeros((ticks, lanes), bool)
        for t in reversed(range(ticks)):
            tick = window[t]
            over = tick.ended | tick.cut | ~tick.is_position
            is_known = np.where(over, ~tick.cut, is_known)
            total = tick.reward + self._discount * np.where(over, 0.0, total)
            returns[t], known[t] = total, is_known & tick.is_position
        first = slice(0, WINDOW_TICKS)
        value = np.stack([tick.value for tick in window[first]])
        return value[known[first]], returns[first][known[first]]


def value_figures(value: np.ndarray, returns: np.ndarray) -> dict[str, float]:
    """value, returns: [N]. Empty if either is constant."""
    if len(value) < 2 or value.std() < 1e-6 or returns.std() < 1e-6:
        return {}
    return {"actor/value_return_correlation": float(np.corrcoef(value, returns)[0, 1])}


def policy_figures(window: list[PlayedTick]) -> dict[str, float]:
    """Information of the prior, its agreement with the search, and the spread of the search's Q-values."""
    is_position = np.stack([tick.is_position for tick in window])
    if not is_position.any():
        return {}
    prior, policy, q_values, visits = (
        np.stack([getattr(tick, name) for tick in window])[is_position]
        for name in ("prior", "policy", "q_values", "visits")
    )
    seen = visits > 0
    count = np.maximum(seen.sum(1), 1)
    mean = (q_values * seen).sum(1) / count
    spread = np.sqrt(((q_values - mean[:, None]) ** 2 * seen).sum(1) / count)
    return {
        "actor/policy_information": information(prior),
        "actor/search_information": information(policy),
        "actor/prior_agreement": float((prior.argmax(1) == policy.argmax(1)).mean()),
        "actor/q_spread": float(spread.mean()),
    }
