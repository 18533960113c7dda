"""A lane that is played again goes on as if it had never been left."""

import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.env.registry import make_env
from speedyzero.env.taped import TapedLanes

LANES = 3
GAMES = {
    "Catch": {},
    "CartPole-v1": {},
    "MinAtar/Breakout-v1": {},
    "Pong": {"image_size_px": 48, "grayscale": True, "train_limit_frames": 400},  # games of 100 ticks
    "Breakout": {"image_size_px": 48, "grayscale": True},  # lives
}


def lanes_of(game: str) -> TapedLanes:
    return TapedLanes(make_env(EnvConfig(game=game, **GAMES[game]), lanes=LANES, seed=7))


def actions_at(env: TapedLanes, tick: int) -> np.ndarray:
    return np.random.default_rng(tick).integers(0, env.num_actions, LANES)


def assert_equal_steps(one, other) -> None:
    for name, value in vars(one).items():
        assert np.array_equal(value, getattr(other, name)), name


QUICK = [(game, ticks) for game in ("Catch", "CartPole-v1", "MinAtar/Breakout-v1") for ticks in (0, 10, 150)]


@pytest.mark.parametrize(("game", "ticks"), [*QUICK, ("Pong", 150), ("Breakout", 150)])
def test_lanes_go_on_where_they_were(game, ticks):
    if game.startswith("MinAtar"):
        pytest.importorskip("minatar")
    env, other = lanes_of(game), lanes_of(game)
    frame = env.reset()
    for tick in range(ticks):
        frame = env.step(actions_at(env, tick)).frame
    other.reset()
    for tick in range(37):  # in the middle of something else
        other.step(actions_at(env, 1000 + tick))
    assert np.array_equal(other.replay(**env.tape()), frame)
    for tick in range(ticks, ticks + 120):
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


@pytest.mark.parametrize("change", ["lanes", "length", "action"])
def test_a_tape_of_something_else_is_refused(change):
    env = lanes_of("Catch")
    env.reset()
    env.step(np.zeros(LANES, np.int64))
    tape = env.tape()
    if change == "lanes":
        tape = {"game": tape["game"][:2], "length": tape["length"][:2], "action": tape["action"][:2]}
    elif change == "length":
        tape["length"] += 1
    else:
        tape["action"] += env.num_actions
    with pytest.raises(ValueError, match="a tape of"):
        env.replay(**tape)
