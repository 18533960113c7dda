"""From a preset and the user's words to a checked `Config`; and a run's `config.yaml`, out and in.

Called by the command line before anything heavy is imported. OmegaConf reads the YAML and resolves `${...}`;
`settings.py` knows names and types. Later wins: defaults, preset, flags, `key=value` arguments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speedyzero.checkpoint.atomic_file import write_atomically
from speedyzero.config import Config, EnvConfig, get
from speedyzero.env import user_modules
from speedyzero.env.atari_ids import read_id
from speedyzero.placement import place
from speedyzero.settings import SETTINGS, Given, build, convert, flatten, near
from speedyzero.validation import validate

_HERE = Path(__file__).resolve().parent
# Inside the package where it is installed, at top level in a checkout.
PRESET_FOLDER = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"
PARITY_PRESET = "efficientzero"

# Settings that say where, when and how a run happens, not what it computes.
_NOT_THE_PAPERS = re.compile(
    r"preset|seed|gpus|cpu_threads|shm_dir|run_dir|env\.game|search\.backend|reanalyze\.(memo|search_batch|ahead|ahead_batch)"
    r"|evaluate\.(parallel_envs|video)|checkpoint\..*|supervisor\..*|replay\.(shards|device_mirror)|placement\..*"
    r"|learner\.(ranks|cuda_graph|norms)"
)


@dataclass(frozen=True)
class Deviation:
    """A setting that differs from the paper's."""

    field: str
    here: Any
    paper: Any


def presets() -> list[str]:
    """The names that `--preset` takes."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def resolve(
    preset: str | None = None,
    game: str | None = None,
    seed: int | None = None,
    gpus: int | None = None,
    run_dir: str | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """The whole run's settings. None: the preset's or the default; `gpus` None: the preset's, or every visible one;
    `preset` None: the one that suits the game and the machine.

    Raises ValueError, one line, for anything unknown, of a wrong type, or that cannot work.
    """
    given = read_words(game, seed, gpus, run_dir, overrides)
    visible = visible_gpus()
    if preset is None:
        names = [path for path in ("env.game", "env.kwargs", "env.action_mask") if path in given]
        env = replace(EnvConfig(), **{path.removeprefix("env."): convert(path, given[path]) for path in names})
        preset = _default_preset(env, convert("gpus", given["gpus"]) if "gpus" in given else visible)
    written = {"gpus": Given(visible, "this machine"), **read_preset(preset), **given}
    check_gpus(written["gpus"])
    return _assemble({**written, "preset": Given(preset, "--preset")})


def read_words(
    game: str | None, seed: int | None, gpus: int | None, run_dir: str | None, overrides: Sequence[str]
) -> dict[str, Given]:
    """The settings that flags and `key=value` arguments give; a game's module may be imported from then on.

    Raises ValueError for what is no setting.
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
    """Raises ValueError where more are asked for than there are."""
    used, visible = convert("gpus", gpus), visible_gpus()
    if used > visible:
        raise ValueError(f"{gpus.where}: gpus={used}, but {visible} visible here; 0 is the CPU")


def read_preset(name: str) -> dict[str, Given]:
    """The settings that a preset's file gives, by dotted path. Raises ValueError for an unknown name."""
    if name not in presets():
        raise ValueError(f"--preset {name}: unknown preset{near(name, presets())}; there are {', '.join(presets())}")
    path = PRESET_FOLDER / f"{name}.yaml"
    return _read_yaml(path, where=f"configs/{path.name}")


def load_config(path: str | Path) -> Config:
    """A run's `config.yaml` as `save_config` wrote it. Raises ValueError if it is not one."""
    return _assemble(_read_yaml(Path(path), where=str(path)))


def save_config(config: Config, path: str | Path) -> None:
    """Write every setting as YAML; `load_config` gives back an equal `Config`."""
    text = OmegaConf.to_yaml(_tree({setting: get(config, setting) for setting in SETTINGS}))
    write_atomically(path, text.encode())


def config_document(config: Config) -> dict[str, Any]:
    """Every setting by its dotted path, as strict JSON: what a checkpoint keeps."""
    values = {path: get(config, path) for path in SETTINGS}
    return {path: list(value) if isinstance(value, tuple) else value for path, value in values.items()}


def read_config_document(document: Any, where: str) -> Config:
    """The Config of a checkpoint's settings; those that it does not name have their defaults. where: for messages.

    Raises ValueError for what `config_document` does not make.
    """
    return _assemble(dict(flatten("", document, where)))


def override(config: Config, given: Mapping[str, Given]) -> Config:
    """A Config with other values for some settings. Raises ValueError as `resolve`."""
    before = {path: Given(get(config, path), "the run's config") for path in SETTINGS}
    return _assemble({**before, **given})


def deviations(config: Config) -> list[Deviation]:
    """What this run computes differently from EfficientZero as its paper's code ran it."""
    paper = _assemble(read_preset(PARITY_PRESET))
    return [
        Deviation(path, get(config, path), get(paper, path))
        for path in SETTINGS
        if get(config, path) != get(paper, path) and not _NOT_THE_PAPERS.fullmatch(path)
    ]


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
    path, equals, words = text.partition("=")
    where = f"argument {text}"
    if not equals or not path:
        raise ValueError(f"{where}: must be key=value, as search.num_simulations=16")
    if path == "preset":
        raise ValueError(f"{where}: a preset is chosen with --preset {words}")
    if path in SETTINGS and SETTINGS[path].kind is str:
        return {path: Given(words, where)}
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={words}"]))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error
    assert isinstance(value, dict)
    return dict(flatten(path, value["value"], where))


def _read_yaml(path: Path, *, where: str) -> dict[str, Given]:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error
    return dict(flatten("", tree, where))


def _assemble(given: Mapping[str, Given]) -> Config:
    """The defaults with what was given on top, converted and validated."""
    defaults = {path: Given(get(Config(), path), "the defaults") for path in SETTINGS}
    written = {**defaults, **given}
    values = {path: convert(path, one) for path, one in _interpolated(written).items()}
    config = build(values)
    try:
        validate(config)
        place(config)
    except ValueError as error:
        named = [path for path in given if re.search(rf"(?<![\w.]){re.escape(path)}(?![\w.])", str(error))]
        origin = "; ".join(f"{path} from {given[path].where}" for path in named)
        raise ValueError(f"{error} ({origin})" if origin else str(error)) from error
    return config


def _interpolated(written: Mapping[str, Given]) -> Mapping[str, Given]:
    """With what `${group.setting}` stands for. Where nobody wrote that, no tree is made: it costs a tenth of a second,
    and a benchmark of 26 games checks 130 runs before it begins."""
    if not any("${" in str(one.value) for one in written.values()):
        return written
    tree, found = _tree({path: written[path].value for path in SETTINGS}), {}
    for path, one in written.items():
        try:
            found[path] = Given(OmegaConf.select(tree, path), one.where)
        except OmegaConfBaseException as error:
            raise ValueError(f"{one.where}: {path}: {_one_line(error)}") from error
    return found


def _tree(values: Mapping[str, Any]) -> DictConfig:
    tree = OmegaConf.create({})
    for path, value in values.items():
        OmegaConf.update(tree, path, list(value) if isinstance(value, tuple) else value, force_add=True)
    return tree


def _one_line(error: Exception) -> str:
    text = str(error)
    return text.splitlines()[0] if isinstance(error, OmegaConfBaseException) else " ".join(text.split())
