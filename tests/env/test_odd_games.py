"""Games that a user brings: what is refused before a run, what stops one, and what is understood."""

from pathlib import Path

import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.env import user_modules
from speedyzero.env.base import GameError
from speedyzero.env.registry import check_game, make_env, try_game
from tests.refusal import refusal


@pytest.fixture(autouse=True)
def named_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """This folder on the path, and its module named by the user."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv(user_modules.VARIABLE, "")
    user_modules.allow("odd_games:Base-v0")


def odd(what: str) -> EnvConfig:
    return EnvConfig(game="odd_games:Base-v0", kwargs={"odd": what})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (odd("shape"), "shape (5,), its space (3,)"),
        (odd("words"), "not of numbers"),
        (odd("raises in reset"), "RuntimeError: no licence for the simulator"),
        (odd("raises in close"), "OSError: socket is gone"),
        (odd("old reset"), "a tuple of observation and info is needed"),
        (odd("old step"), "observation, reward, terminated, truncated and info"),
        (odd("reward text"), "a reward is str '1'; a number is needed"),
        (odd("reward two"), "a number is needed"),
        (odd("reward none"), "a number is needed"),
        (odd("mask"), "env.action_mask=ignore"),
        (EnvConfig(game="odd_games:Needy-v0"), "arguments are given as env.kwargs"),
        (EnvConfig(game="odd_games:Needy-v0", kwargs={"sice": 3}), "with env.kwargs={'sice': 3}: TypeError"),
        (EnvConfig(game="odd_games:Shows-v0", kwargs={"space": "dict", "wrong": True}), "not of its space Dict"),
        (EnvConfig(game="odd_games:Missing-v0"), "Missing"),
        (EnvConfig(game="Catch", kwargs={"size": 3}), "Catch takes no arguments"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.kwargs),
)
def test_what_cannot_be_used_is_refused_in_one_line(config, words):
    line = refusal(try_game, config)
    assert words in line and config.game in line


def test_a_game_that_cannot_draw_itself_is_refused_where_it_is_to_be_filmed():
    try_game(EnvConfig(game="odd_games:Watched-v0"), render=True)
    assert "no rgb_array" in refusal(try_game, odd(""), render=True)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("nan observation", r"observation\[1\] is nan, as float32 nan"),
        ("large observation", r"observation\[2\] is 1e\+39, as float32 inf"),
        ("nan reward", "a reward is float nan"),
        ("inf reward", "a reward is float -inf"),
        ("large reward", r"1e\+39, as float32 inf"),
        ("raises in step", "KeyError: 'connection'"),
        ("exits", "SystemExit: out of memory"),
    ],
)
def test_what_a_game_says_later_stops_where_it_enters(what, words):
    try_game(odd(what))
    env = make_env(odd(what), lanes=2, seed=0, first_lane=4)
    env.reset()
    with pytest.raises(GameError, match=words) as error:
        for _ in range(5):
            env.step(np.array([1, 0]))
    assert "lane 4, game 0, step" in str(error.value) and "action 1" in str(error.value)


def test_an_array_of_one_is_its_number():
    env = make_env(odd("reward array"), lanes=2, seed=0)
    env.reset()
    assert env.step(np.array([1, 0])).raw_reward.tolist() == [1.0, 0.0]


def test_a_mask_is_ignored_only_where_that_is_said():
    try_game(EnvConfig(game="odd_games:Base-v0", kwargs={"odd": "mask"}, action_mask="ignore"))
    assert "action_mask" in refusal(try_game, EnvConfig(game="Taxi-v4"))


@pytest.mark.parametrize(
    ("space", "frame"),
    [
        ("discrete", [0, 0, 1, 0, 0]),
        ("bits", [1, 0, 1]),
        ("multi", [0, 1, 0, 0, 1]),
        ("dict", [0.5, -0.5, 0, 0, 1]),
        ("tuple", [0, 1, 0.25, 1]),
    ],
)
def test_observations_that_are_no_box_become_vectors(space, frame):
    config = EnvConfig(game="odd_games:Shows-v0", kwargs={"space": space})
    env = make_env(config, lanes=2, seed=0)
    assert check_game(config).spec == env.spec and env.spec.shape == (len(frame),)
    assert env.reset().tolist() == [frame, frame] and env.reset().dtype == np.float32


def test_a_game_without_an_end_gets_the_limits_of_the_settings():
    config = EnvConfig(game="odd_games:Endless-v0", train_limit_frames=4, eval_limit_frames=6)
    assert not check_game(config).has_limit
    for evaluation, limit in ((False, 4), (True, 6)):
        env = make_env(config, lanes=1, seed=0, evaluation=evaluation)
        env.reset()
        cut = [bool(env.step(np.array([0])).truncated[0]) for _ in range(limit)]
        assert cut == [False] * (limit - 1) + [True]


def test_no_module_is_imported_that_the_user_has_not_named(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "add --game planted:Game-v0" in refusal(check_game, EnvConfig(game="planted:Game-v0"))
    assert not (tmp_path / "canary").exists()
    user_modules.allow("planted:Game-v0")
    refusal(check_game, EnvConfig(game="planted:Game-v0"))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [("1 / 0", "ZeroDivisionError"), ("raise SystemExit('no key')", "no key"), ("import nowhere1", "on PYTHONPATH")],
)
def test_a_module_that_cannot_be_imported(source, words, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    user_modules.allow("broken:Game-v0")
    assert words in refusal(check_game, EnvConfig(game="broken:Game-v0"))
