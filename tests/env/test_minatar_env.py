"""MinAtar: the package's own games move for move, limits, pictures, and what is refused.

The games need the optional `minatar` package; the refusals do not.
"""

import importlib.util

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.config import EnvConfig
from speedyzero.env import minatar_env
from speedyzero.env.gymnasium_env import GymnasiumLanes
from speedyzero.env.minatar_env import NAMES
from speedyzero.env.registry import check_game, make_env
from speedyzero.model.build import build_network
from speedyzero.model.kind import network_kind
from speedyzero.system import keyed_random
from tests.refusal import refusal

NEEDS_MINATAR = pytest.mark.skipif(
    importlib.util.find_spec("minatar") is None,
    reason="the optional package minatar is not installed: pip install speedyzero[minatar]",
)
GAMES = [name for name in NAMES if name.endswith("-v1")]


def lanes(name: str, number: int = 1, *, seed: int = 3, **settings) -> GymnasiumLanes:
    made = make_env(EnvConfig(game=name, clip_reward="false", **settings), lanes=number, seed=seed)
    assert isinstance(made, GymnasiumLanes)
    return made


@NEEDS_MINATAR
@pytest.mark.parametrize("name", GAMES)
def test_a_game_is_the_packages_own(name: str):
    """Board, reward and end, with sticky actions, against the package's own wrapper seeded alike."""
    from minatar import Environment

    module = minatar_env._FILE_OF_GAME[name.removeprefix("MinAtar/").removesuffix("-v1")]
    ours, rng = lanes(name), np.random.default_rng(0)
    frame = ours.reset()
    for game in range(3):
        theirs = Environment(module)
        theirs.seed(keyed_random.seed_for(3, keyed_random.ENV_SEED, 0, game))
        theirs.reset()
        np.testing.assert_array_equal(frame[0], theirs.state() * np.uint8(255))
        over = False
        for _ in range(150):
            action = int(rng.integers(ours.num_actions))
            step = ours.step(np.array([action]))
            reward, over = theirs.act(theirs.minimal_action_set()[action])
            np.testing.assert_array_equal(step.frame[0], theirs.state() * np.uint8(255))
            assert (step.raw_reward[0], step.game_over[0]) == (reward, over)
            if over:
                break
        if not over:
            return  # a long game: 150 steps of it are enough
        frame = ours.step(np.array([0])).frame


@NEEDS_MINATAR
def test_sizes_and_actions():
    found = {name: check_game(EnvConfig(game=name)) for name in NAMES}
    assert {info.kind for info in found.values()} == {"minatar"}
    assert all(info.spec.dtype == np.uint8 and info.spec.shape[:2] == (10, 10) for info in found.values())
    channels = {name.removeprefix("MinAtar/"): found[name].spec.shape[2] for name in GAMES}
    assert channels == {"Asterix-v1": 4, "Breakout-v1": 4, "Freeway-v1": 7, "Seaquest-v1": 10, "SpaceInvaders-v1": 6}
    assert [found[name].num_actions for name in GAMES] == [5, 3, 3, 6, 4]
    assert {found[name].num_actions for name in NAMES if name.endswith("-v0")} == {6}
    assert check_game(EnvConfig(game="minatar/spaceinvaders-V1")).name == "MinAtar/SpaceInvaders-v1"


@NEEDS_MINATAR
def test_a_limit_cuts_off_and_is_counted_anew_for_each_game():
    env = lanes("MinAtar/Freeway-v1", train_limit_frames=7)
    env.reset()
    steps = [env.step(np.array([0])) for _ in range(16)]
    assert [tick for tick, step in enumerate(steps) if step.truncated[0]] == [6, 14]
    assert [tick for tick, step in enumerate(steps) if step.started[0]] == [7, 15]
    assert not any(step.game_over[0] or step.life_lost[0] for step in steps)
    played = make_env(EnvConfig(game="MinAtar/Freeway-v1", train_limit_frames=7), lanes=1, seed=3, evaluation=True)
    played.reset()
    assert not any(played.step(np.array([0])).truncated[0] for _ in range(20))


@NEEDS_MINATAR
def test_a_game_that_ends_at_its_limit_is_over_and_not_cut_off():
    """Freeway's own clock runs out in its step 2,501."""
    env = lanes("MinAtar/Freeway-v1", train_limit_frames=2501)
    env.reset()
    steps = [env.step(np.array([0])) for _ in range(2501)]
    assert not any(step.game_over[0] or step.truncated[0] for step in steps[:-1])
    assert steps[-1].game_over[0] and not steps[-1].truncated[0]


@NEEDS_MINATAR
def test_a_picture_shows_every_thing_in_a_colour_of_its_own():
    env = lanes("MinAtar/Breakout-v1")
    env.reset()
    board = [env.step(np.array([0])).frame[0] for _ in range(2)][-1]  # the ball and its trail have left the bricks
    picture = env.render(0)
    assert picture.shape == (200, 200, 3) and picture.dtype == np.uint8
    small = picture[::20, ::20]
    np.testing.assert_array_equal(small.any(axis=2), board.any(axis=2))
    assert len({tuple(colour) for colour in small[board.any(axis=2)]}) == 4


@NEEDS_MINATAR
@pytest.mark.parametrize("name", GAMES)
def test_the_preset_fits_every_game(name: str):
    config = resolve(game=name, gpus=0)
    info = check_game(config.env)
    assert (config.preset, config.learner.shift_px) == ("minatar", 0)
    assert network_kind(config, info.spec) == "mlp"
    build_network(config, info.spec, info.num_actions)


@pytest.mark.parametrize(("game", "named"), [
    ("MinAtar/Braekout-v1", "did you mean MinAtar/Breakout-v1?"), ("MinAtar/Breakout-v7", "MinAtar/Breakout-v"),
    ("MinAtar/", "there are MinAtar/Asterix-v0, MinAtar/Asterix-v1"), ("MinAtr/Breakout-v1", "MinAtar/Breakout-v1"),
])  # fmt: skip
def test_no_such_game(game: str, named: str):
    line = refusal(check_game, EnvConfig(game=game))
    assert named in line and repr(game) in line


def test_without_the_package_a_game_is_refused(monkeypatch: pytest.MonkeyPatch):
    minatar_env._rules.cache_clear()
    monkeypatch.setattr(minatar_env.importlib.util, "find_spec", lambda name: None)
    assert "pip install speedyzero[minatar]" in refusal(check_game, EnvConfig(game="MinAtar/Breakout-v1"))
