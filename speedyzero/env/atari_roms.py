"""Atari games by plain name: the ROMs that ale-py includes, and whether they can be played."""

import functools
from pathlib import Path

import ale_py
import gymnasium
from ale_py import roms


@functools.cache
def rom_of_name() -> dict[str, str]:
    """Plain name -> ROM id for every ROM of ale-py, {"MsPacman": "ms_pacman", ...}."""
    return {rom.title().replace("_", ""): rom for rom in sorted(roms.get_all_rom_ids())}


def find_name(game: str) -> str | None:
    """The plain name for `game`, in any spelling ("pong", "ms_pacman", "MSPacman"), or None."""
    wanted = game.replace("_", "").lower()
    return next((name for name in rom_of_name() if name.lower() == wanted), None)


def rom_path(name: str) -> Path:
    """The ROM file of the game with this plain name.

    Raises ValueError for a missing, damaged or two-player ROM, for which the emulator would end the process.
    """
    if f"ALE/{name}-v5" not in gymnasium.registry:  # ale-py registers every game that one player can play
        raise ValueError(f"env.game={name!r}: this ROM has no single-player game")
    try:
        path = roms.get_rom_path(rom_of_name()[name])
    except OSError as error:
        raise ValueError(f"env.game={name!r}: its ROM can't be read: {' '.join(str(error).split())}") from error
    assert path is not None
    return path


def action_names(name: str, *, full_action_space: bool) -> tuple[str, ...]:
    """ALE's names of a game's actions, such as UPRIGHT. Raises ValueError as `rom_path` does."""
    path = rom_path(name)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.loadROM(path)
    actions = emulator.getLegalActionSet() if full_action_space else emulator.getMinimalActionSet()
    return tuple(action.name for action in actions)
