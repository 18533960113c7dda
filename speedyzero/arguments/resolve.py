"""From a preset and command line arguments to a checked `Config`.

Called before anything heavy is imported. Later wins: defaults, preset, flags, `key=value` arguments.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speedyzero.config import Config, EnvConfig
from speedyzero.config.documents import assemble, one_line, read_preset
from speedyzero.config.settings import SETTINGS, Given, convert, flatten
from speedyzero.env import user_modules
from speedyzero.env.atari_ids import read_id


def resolve(
    preset: str | None = None,
    game: str | None = None,
    seed: int | None = None,
    gpus: int | None = None,
    run_dir: str | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """The settings of a run. None: the preset's or the default; `gpus` None: the preset's, or every visible one;
    `preset` None: the one that suits the game and the machine.

    Raises ValueError, one line, for anything unknown, of a wrong type, or invalid.
    """
    given = read_arguments(game, seed, gpus, run_dir, overrides)
    visible = visible_gpus()
    if preset is None:
        names = [path for path in ("env.game", "env.kwargs", "env.action_mask") if path in given]
        env = replace(EnvConfig(), **{path.removeprefix("env."): convert(path, given[path]) for path in names})
        preset = _default_preset(env, convert("gpus", given["gpus"]) if "gpus" in given else visible)
    written = {"gpus": Given(visible, "this machine"), **read_preset(preset), **given}
    check_gpus(written["gpus"])
    return assemble({**written, "preset": Given(preset, "--preset")})


def read_arguments(
    game: str | None, seed: int | None, gpus: int | None, run_dir: str | None, overrides: Sequence[str]
) -> dict[str, Given]:
    """The settings in flags and `key=value` arguments. Allows the import of the game's module from now on.

    Raises ValueError for an argument that is no setting.
    """
    flags = (
        ("env.game", game, "--game"),
        ("seed", seed, "--seed"),
        ("gpus", gpus, "--gpus"),
        ("run_dir", run_dir, "--run-dir"),
    )
    given = {path: Given(value, flag) for path, value, flag in flags if value is not None}
    for argument in overrides:
        given.update(_read_argument(argument))
    if "env.game" in given:
        name = str(given["env.game"].value)
        user_modules.allow(name)
        if (atari := read_id(name)) is not None:
            where = given["env.game"].where + f" {name}"
            implied = {path: Given(value, where) for path, value in {"env.game": atari[0], **atari[1]}.items()}
            given = {**implied, **{path: one for path, one in given.items() if path != "env.game"}}
    return given


def check_gpus(gpus: Given) -> None:
    """Raises ValueError if more are requested than visible."""
    used, visible = convert("gpus", gpus), visible_gpus()
    if used > visible:
        raise ValueError(f"{gpus.where}: gpus={used}, but {visible} visible here; 0 is the CPU")


def visible_gpus() -> int:
    """GPUs that torch can use. Without a device file the answer is 0 and torch is not imported."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return 0
    import torch

    return torch.cuda.device_count()


def _default_preset(env: EnvConfig, gpus: int) -> str:
    game = env.game
    if game.lower() == "catch":
        return "catch"
    if game.lower().startswith("minatar/"):
        return "minatar"
    if ":" in game or re.search(r"-v\d+$", game):
        from speedyzero.env.registry import check_game

        if not check_game(env).spec.is_image:
            return "cartpole" if game.startswith("CartPole-") else "vector"
    return "speedyzero" if gpus else "laptop"


def _read_argument(text: str) -> dict[str, Given]:
    path, equals, written = text.partition("=")
    where = f"argument {text}"
    if not equals or not path:
        raise ValueError(f"{where}: must be key=value, as search.num_simulations=16")
    if path == "preset":
        raise ValueError(f"{where}: a preset is chosen with --preset {written}")
    if path in SETTINGS and SETTINGS[path].kind is str:
        return {path: Given(written, where)}
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={written}"]))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {one_line(error)}") from error
    assert isinstance(value, dict)
    return dict(flatten(path, value["value"], where))
