"""The lanes of every family: each plays by itself, and one that is played again continues as if never left."""

import importlib.util

import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.env.registry import make_env
from speedyzero.env.taped import TapedLanes

LANES = 3
HAS_MINATAR = importlib.util.find_spec("minatar") is not None
GAMES = {
    "Catch": {},
    "CartPole-v1": {},
    **({"MinAtar/Breakout-v1": {}} if HAS_MINATAR else {}),
    "Pong": {"image_size_px": 48, "grayscale": True, "train_limit_frames": 400},  # games of 100 ticks
    "Breakout": {"image_size_px": 48, "grayscale": True},  # lives
}

QUICK = [game for game in GAMES if game not in ("Pong", "Breakout")]


def lanes_of(game: str) -> TapedLanes:
    return TapedLanes(make_env(EnvConfig(game=game, **GAMES[game]), lanes=LANES, seed=7))


def actions_at(env: TapedLanes, tick: int) -> np.ndarray:
    return np.random.default_rng(tick).integers(0, env.num_actions, LANES)


def assert_equal_steps(one, other) -> None:
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(other, name)), name


@pytest.mark.parametrize("game", GAMES)
def test_a_lane_plays_the_same_whatever_the_others_do(game):
    """Lane 2 of three, beside two that play otherwise, and alone; again from its reset on. Nothing returned changes."""
    ticks = 120 if game in QUICK else 50

    def played(lanes: int = LANES, *, other: int = 0, first_lane: int = 0, seed: int = 7, resets: int = 1):
        settings = {**GAMES[game], **({"train_limit_frames": 80} if game == "Pong" else {})}
        env = make_env(EnvConfig(game=game, **settings), lanes=lanes, seed=seed, first_lane=first_lane)
        actions = np.stack([np.random.default_rng(tick).integers(0, env.num_actions, LANES) for tick in range(ticks)])
        actions[:, :2] = (actions[:, :2] + other) % env.num_actions
        runs = []
        for _ in range(resets):
            frames = [env.reset()]
            copies = [frames[0].copy()]
            for action in actions[:, first_lane:]:
                frames.append(env.step(action).frame)
                copies.append(frames[-1].copy())
            runs.append(np.stack(copies))
            np.testing.assert_array_equal(frames, copies)
        np.testing.assert_array_equal(runs[0], runs[-1])
        env.close()
        return runs[0]

    three = played(resets=2)
    np.testing.assert_array_equal(three[:, 2], played(other=1)[:, 2])
    np.testing.assert_array_equal(three[:, 2], played(1, first_lane=2)[:, 0])
    assert (three[:, 0] != three[:, 2]).any() and (three[:, 2] != played(1, first_lane=2, seed=8)[:, 0]).any()


@pytest.mark.parametrize(
    ("game", "ticks"), [*((game, ticks) for game in QUICK for ticks in (0, 10, 150)), ("Pong", 160), ("Breakout", 130)]
)
def test_lanes_go_on_where_they_were(game, ticks):
    env, other = lanes_of(game), lanes_of(game)
    frame = env.reset()
    for tick in range(ticks):
        frame = env.step(actions_at(env, tick)).frame
    other.reset()
    for tick in range(37):  # in the middle of something else
        other.step(actions_at(env, 1000 + tick))
    assert np.array_equal(other.replay(**env.tape()), frame)
    for tick in range(ticks, ticks + (120 if game in QUICK else 60)):
        assert_equal_steps(other.step(actions_at(env, tick)), env.step(actions_at(env, tick)))
    for name, value in env.tape().items():
        assert np.array_equal(other.tape()[name], value)
    env.close()
    other.close()


@pytest.mark.parametrize("game", ["Catch", "Pong"])
def test_tapes_of_very_different_lengths(game):
    """One lane's game is hardly begun while another's is old; the first must not have begun too early."""
    env, other = lanes_of(game), lanes_of(game)
    env.reset()
    for tick in range(6):
        env.step(actions_at(env, tick))
    env.begin(np.array([False, True, False]), np.array([0, 5, 0]))
    for tick in range(2):
        frame = env.step(actions_at(env, tick)).frame
    env.begin(np.array([False, False, True]), np.array([0, 0, 8]))
    assert env.tape()["length"].tolist() == [8, 2, 0] and env.tape()["game"].tolist() == [0, 5, 8]
    replayed = other.replay(**env.tape())
    assert np.array_equal(replayed[:2], frame[:2])
    for tick in range(40):
        assert_equal_steps(other.step(actions_at(env, tick)), env.step(actions_at(env, tick)))
    env.close()
    other.close()
