"""Modules with a user's own games: "my_package:MyGame-v0" is MyGame-v0 after `my_package` is imported.

Such a module is imported only if the user names it, on the command line or in a call. A run's files contain the game's
name too, but files from someone else must not cause an import, so the user has to name the game again. The named
modules are kept in an environment variable, which a run's processes inherit.
"""

import importlib
import os
import shlex

VARIABLE = "SPEEDYZERO_GAME_MODULES"


def allow(game: str) -> None:
    """Allow the import of this game's module, if it has one, here and in processes started later."""
    module, colon, _ = game.partition(":")
    if colon:
        os.environ[VARIABLE] = ",".join(sorted({*_allowed(), module}))


def imported(game: str) -> str:
    """Import the game's module, if it has one; the game's Gymnasium id.

    Raises ValueError, in one line, for a module that was not allowed or cannot be imported.
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
    """Raises ValueError for a game whose module was not allowed."""
    module, colon, _ = game.partition(":")
    if colon and module not in _allowed():
        raise ValueError(
            f"env.game={game!r}: a run's files may not name the module {module!r} to import; if you trust it, "
            f"add --game {shlex.quote(game)} (from Python: load(..., game={game!r}))"
        )


def _allowed() -> set[str]:
    return {module for module in os.environ.get(VARIABLE, "").split(",") if module}
