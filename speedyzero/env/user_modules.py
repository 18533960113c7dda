"""Modules that bring games of a user's own: "my_package:MyGame-v0" is MyGame-v0 once `my_package` is imported.

Such a module is imported only where the user has named it, on the command line or in a call. A run's files keep the
game's name too, but a directory from somebody else must not choose what is imported: whoever opens one names it again.
What was named stands in the environment, so that a run's processes have it from the process that starts them.
"""

from __future__ import annotations

import importlib
import os
import shlex

VARIABLE = "SPEEDYZERO_GAME_MODULES"


def allow(game: str) -> None:
    """The user has named this game: its module, if it has one, may be imported here and in processes begun later."""
    module, colon, _ = game.partition(":")
    if colon:
        os.environ[VARIABLE] = ",".join(sorted({*_allowed(), module}))


def imported(game: str) -> str:
    """Import the game's module, if it has one; the id that Gymnasium knows the game by.

    Raises ValueError, in one line, for a module that nobody has named, and where it cannot be imported.
    """
    check_allowed(game)
    module, colon, name = game.partition(":")
    if not colon:
        return game
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        hint = "; put its folder on PYTHONPATH" if isinstance(error, ModuleNotFoundError) else ""
        raise ValueError(f"env.game={game!r}: importing {module}: {reason}{hint}") from error
    return name


def check_allowed(game: str) -> None:
    """Raises ValueError for a game whose module nobody has named."""
    module, colon, _ = game.partition(":")
    if colon and module not in _allowed():
        raise ValueError(
            f"env.game={game!r}: a run's files may not name the module {module!r} to import; if you trust it, "
            f"add --game {shlex.quote(game)} (from Python: load(..., game={game!r}))"
        )


def _allowed() -> set[str]:
    return {module for module in os.environ.get(VARIABLE, "").split(",") if module}
