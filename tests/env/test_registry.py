import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from ale_py import roms

from speedyzero.config import EnvConfig
from speedyzero.env import atari_roms
from speedyzero.env.registry import check_game, make_env
from tests.refusal import refusal

NEED_TWO_PLAYERS = {"Combat", "Joust", "MazeCraze", "Warlords"}


def test_all_108_rom_names_resolve():
    names = atari_roms.rom_of_name()
    assert len(names) == 108 and set(names.values()) == set(roms.get_all_rom_ids())
    for name, rom in names.items():
        assert atari_roms.find_name(name) == atari_roms.find_name(rom) == atari_roms.find_name(name.lower()) == name
    assert names["MsPacman"] == "ms_pacman" and names["UpNDown"] == "up_n_down" and names["Qbert"] == "qbert"


# The counts that ale-py 0.12.1 reports, of games with small and full minimal sets.
@pytest.mark.parametrize(
    ("game", "actions"),
    [("Freeway", 3), ("Breakout", 4), ("pong", 6), ("ms_pacman", 9), ("KungFuMaster", 14), ("Hero", 18)],
)
def test_minimal_action_sets(game, actions):
    info = check_game(EnvConfig(game=game))
    assert (info.kind, info.num_actions, info.spec.shape, info.spec.dtype) == ("atari", actions, (96, 96, 3), np.uint8)


def test_full_action_set_and_gray_frames():
    info = check_game(EnvConfig(game="Pong", full_action_space=True, grayscale=True, image_size_px=48))
    assert info.num_actions == 18 and info.spec.shape == (48, 48, 1)


def test_other_kinds():
    catch = check_game(EnvConfig(game="catch"))
    assert (catch.kind, catch.name, catch.num_actions, catch.spec.shape) == ("catch", "Catch", 3, (10, 5, 1))
    cartpole = check_game(EnvConfig(game="CartPole-v1"))
    assert (cartpole.kind, cartpole.num_actions, cartpole.spec.shape) == ("gymnasium", 2, (4,))
    assert cartpole.spec.dtype == np.float32 and not cartpole.spec.is_image
    blackjack = check_game(EnvConfig(game="Blackjack-v1"))  # a tuple of three numbers, each one-hot
    assert (blackjack.kind, blackjack.spec.shape, blackjack.spec.dtype) == ("gymnasium", (32 + 11 + 2,), np.float32)
    assert not blackjack.has_limit and cartpole.has_limit and cartpole.frames_per_second == 50


@pytest.mark.parametrize(
    ("game", "words"),
    [
        ("mspacmna", "MsPacman"),
        ("Catchh", "Catch"),
        ("CartPole-v7", "CartPole-v1"),
        ("xyzzyq", "no such Atari game"),
        ("no_such_module:Env-v0", "no_such_module"),
        ("Pendulum-v1", "Discrete actions are needed"),
        ("ALE/Pong-v5", "Pong with env.frame_skip=4 env.sticky_actions=0.25"),
    ],
)
def test_refusals_are_one_line(game, words):
    line = refusal(check_game, EnvConfig(game=game))
    assert words in line and game in line


def test_roms_that_would_end_the_process_are_refused():
    refused = set()
    for name in atari_roms.rom_of_name():
        try:
            atari_roms.rom_path(name)
        except ValueError as error:
            assert "single-player" in str(error)
            refused.add(name)
    assert refused == NEED_TWO_PLAYERS


@pytest.mark.parametrize("content", [None, b"not a game"])
def test_missing_and_damaged_rom_files(content, tmp_path, monkeypatch):
    """The emulator would end the process: the check has to come first."""
    if content is not None:
        (tmp_path / "pong.bin").write_bytes(content)
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    assert "pong.bin" in refusal(make_env, EnvConfig(game="Pong"), lanes=1, seed=0)


def test_the_check_imports_nothing_heavy():
    games = ["Pong", "CartPole-v1", "Catch"]
    games += ["MinAtar/Breakout-v1"] if importlib.util.find_spec("minatar") else []
    code = (
        "import sys; from speedyzero.config import EnvConfig; from speedyzero.env.registry import check_game;"
        f"[check_game(EnvConfig(game=g)) for g in {games}];"
        "print([m for m in ('torch', 'jax', 'pygame', 'PIL', 'pandas', 'seaborn', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
