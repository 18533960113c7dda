"""What `bench_action_effect` takes for the effect of a decision."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_action_effect import Game, effect, play


def test_an_advantage_is_found_beneath_noise_and_none_where_there_is_none():
    random = np.random.default_rng(0)
    value = random.normal(size=(4000, 1, 1))  # [P, A, M]
    advantage = 0.2 * random.normal(size=(4000, 3, 1))
    noise = 0.5 * random.normal(size=(4000, 3, 4))
    found = effect(value + advantage + noise, 4, ("left", "stay", "right"))
    assert found.advantage_sd == pytest.approx(0.2, abs=0.02)
    assert found.advantage_sd_ci95[0] < 0.2 < found.advantage_sd_ci95[1]
    assert found.noise_sd == pytest.approx(0.5, abs=0.02)
    assert effect(value + noise, 4, ("left", "stay", "right")).advantage_sd < 0.06


def test_trying_actions_leaves_the_game_where_it_stood():
    looked, untouched = Game("Breakout", 1), Game("Breakout", 1)
    for action in (1, 2, 2, 3):
        looked.returns(2, 4, frames=40, random=np.random.default_rng(3))
        looked.step(action, 4)
        untouched.step(action, 4)
    assert (looked._ale.getRAM() == untouched._ale.getRAM()).all()


def test_returns_have_a_row_a_position_a_column_an_action():
    returns = play("Breakout", 8, positions=2, tries=3, frames=24, seed=0)
    assert returns.shape == (2, 4, 3) and (returns >= 0).all()
