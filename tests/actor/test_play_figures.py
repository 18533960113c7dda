"""What an agent knew of the positions that it played: returns by hand, and figures of agents that look and do not."""

import numpy as np
import pytest

from speedyzero.actor.play_figures import WINDOW_TICKS, PlayedTick, PlayFigures

LANES, ACTIONS = 2, 3


def a_tick(*, value, prior=None, reward=0.0, ended=False, cut=False, is_position=True) -> PlayedTick:
    def lanes(x, kind=np.float32):
        return np.broadcast_to(np.asarray(x, kind), (LANES,)).copy()

    policy = np.full((LANES, ACTIONS), 1 / ACTIONS, np.float32) if prior is None else prior
    return PlayedTick(
        value=lanes(value),
        prior=policy,
        policy=policy,
        q_values=np.tile(np.array([1.0, 3.0, 99.0], np.float32), (LANES, 1)),
        visits=np.tile(np.array([2, 2, 0]), (LANES, 1)),
        reward=lanes(reward),
        is_position=lanes(is_position, bool),
        ended=lanes(ended, bool),
        cut=lanes(cut, bool),
    )


def figures_of(ticks, discount=0.5) -> dict[str, float]:
    """Of the first window; ticks: a function of the tick's number."""
    play, number = PlayFigures(discount), 0
    while True:
        if figures := play.add(ticks(number)):
            return figures
        number += 1
        assert number < 1000


def test_values_that_are_the_returns_correlate_fully():
    """Episodes of four: rewards 0, 0, r and the row that begins anew; returns r/4, r/2, r by hand, r being 1 or -1."""
    value, outcome = (0.25, 0.5, 1.0, 77.0), np.random.default_rng(0).choice([-1.0, 1.0], size=1000)

    def ticks(t):
        r = outcome[t // 4]
        return a_tick(value=r * value[t % 4], reward=r * (t % 4 == 2), ended=t % 4 == 2, is_position=t % 4 != 3)

    assert figures_of(ticks)["actor/value_return_correlation"] == pytest.approx(1.0)


def test_what_follows_a_cut_is_unknown():
    """Of every second episode, cut off, values are nonsense: they are not counted."""

    def ticks(t):
        is_cut_off = t % 8 >= 4
        value = (0.25, 0.5, 1.0, 77.0)[t % 4] if not is_cut_off else -50.0 * (t % 3)
        over = t % 4 == 2
        return a_tick(
            value=value, reward=float(over), ended=over and not is_cut_off, cut=over and is_cut_off,
            is_position=t % 4 != 3,
        )  # fmt: skip

    assert figures_of(ticks)["actor/value_return_correlation"] == pytest.approx(1.0)


def test_a_policy_that_is_the_same_everywhere_knows_nothing():
    prior = np.tile(np.array([0.7, 0.2, 0.1], np.float32), (LANES, 1))
    figures = figures_of(lambda t: a_tick(value=t % 7, prior=prior, reward=t % 5))
    assert figures["actor/policy_information"] == pytest.approx(0.0, abs=1e-6)


def test_a_policy_that_looks_knows_which_action():
    """Two positions in turn, each with an action of its own: ln 2 nats."""
    figures = figures_of(lambda t: a_tick(value=t % 7, prior=np.tile(np.eye(3, dtype=np.float32)[t % 2], (LANES, 1))))
    assert figures["actor/policy_information"] == pytest.approx(np.log(2), rel=1e-4)
    assert figures["actor/prior_agreement"] == 1.0
    assert figures["actor/q_spread"] == pytest.approx(1.0)  # of 1 and 3; the action without a visit is left out


def test_windows_follow_one_another():
    play = PlayFigures(0.5)
    complete = [t for t in range(3 * WINDOW_TICKS) if play.add(a_tick(value=t % 7, reward=t % 5))]
    assert np.diff(complete).tolist() == [WINDOW_TICKS]
