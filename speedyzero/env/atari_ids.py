"""Gymnasium's ids of Atari games and the settings they imply: `ALE/Pong-v5` is Pong with a frame skip of 4 and sticky
actions (Machado et al. 2018). An id with an unsupported protocol is refused.
"""

import re
from typing import Any

_ID = re.compile(r"(?:ALE/)?(?P<game>\w+?)(?P<ram>-ram)?(?P<skip>NoFrameskip|Deterministic)?-v(?P<version>[045])")
STICKY = 0.25


def read_id(game: str) -> tuple[str, dict[str, Any]] | None:
    """The plain name of an id's game and the settings that it implies; None if it is not an id of an Atari game.

    Raises ValueError, with an alternative, for an id with an unsupported protocol.
    """
    found = _ID.fullmatch(game)
    if found is None:
        return None
    import gymnasium

    from speedyzero.env.atari_roms import find_name

    name, spec = find_name(found["game"]), gymnasium.registry.get(game)
    if name is None or (spec is not None and not str(spec.entry_point).startswith("ale_py")):
        return None
    if found["ram"]:
        raise ValueError(f"--game {game}: observations are the console's memory, not images; use --game {name}")
    if found["skip"] == "NoFrameskip":
        raise ValueError(
            f"--game {game}: has no frame skip of its own; use --game {name} env.frame_skip=4, or another number"
        )
    version = int(found["version"])
    if version != 5 and found["skip"] is None:
        raise ValueError(
            f"--game {game}: a random frame skip of 2 to 4 is not supported; use ALE/{name}-v5 (4, with sticky "
            f"actions) or --game {name} (env.frame_skip, without)"
        )
    frame_skip = 3 if found["skip"] and name == "SpaceInvaders" else 4
    return name, {"env.frame_skip": frame_skip, "env.sticky_actions": 0.0 if version == 4 else STICKY}


def spelled_out(game: str | None) -> tuple[str | None, list[str]]:
    """A game's plain name and the arguments that its id implies, for a command line. Raises ValueError as `read_id`."""
    atari = None if game is None else read_id(game)
    return (game, []) if atari is None else (atari[0], [f"{path}={value}" for path, value in atari[1].items()])
