"""From a preset and the user's words to a checked `Config`; and a run's `config.yaml`, out and in.

Called by the command line before anything heavy is imported. OmegaConf reads the YAML and resolves `${...}`; the
types, choices and names come from the dataclasses of `config.py`, so that every mistake is one line that says what,
where, what is allowed and the nearest right name. Later wins: defaults, preset, flags, `key=value` arguments.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speedyzero.config import Config, EnvConfig, get, validate

_HERE = Path(__file__).resolve().parent
# Inside the package where it is installed, at top level in a checkout.
PRESET_FOLDER = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"
PARITY_PRESET = "efficientzero"

# Settings that say where, when and how a run happens, not what it computes.
_NOT_THE_PAPERS = re.compile(
    r"preset|seed|gpus|cpu_threads|run_dir|env\.game|search\.backend|reanalyze\.(memo|search_batch)"
    r"|evaluate\.(parallel_envs|video)"
)


@dataclass(frozen=True)
class Setting:
    """One leaf of `Config`: its type (int, float, bool, str or tuple[float, ...]) and its choices, if it has any."""

    kind: Any
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """A value as somebody wrote it, and where."""

    value: Any
    where: str


@dataclass(frozen=True)
class Deviation:
    """A setting that differs from the paper's."""

    field: str
    here: Any
    paper: Any


def _settings(cls: Any = Config, group: str = "") -> Iterator[tuple[str, Setting]]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        if is_dataclass(hints[field.name]):
            yield from _settings(hints[field.name], f"{group}{field.name}.")
        else:
            yield group + field.name, Setting(hints[field.name], field.metadata.get("choices", ()))


SETTINGS: Mapping[str, Setting] = dict(_settings())
_GROUPS = {""} | {path[: dot.start()] for path in SETTINGS for dot in re.finditer(r"\.", path)}
_KIND_NAMES = {int: "an integer (64 bits)", float: "a number", bool: "true or false", str: "text"}


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
    """The whole run's settings. None: the preset's or the default; `gpus` None: every visible GPU; without a preset,
    the one that suits the game and the machine.

    Raises ValueError, one line, for anything unknown, of a wrong type, or that cannot work.
    """
    arguments: dict[str, Given] = {}
    for text in overrides:
        arguments.update(_read_argument(text))
    flags = {
        path: Given(value, flag)
        for path, value, flag in (
            ("env.game", game, "--game"),
            ("seed", seed, "--seed"),
            ("gpus", gpus, "--gpus"),
            ("run_dir", run_dir, "--run-dir"),
        )
        if value is not None
    }
    visible = visible_gpus()
    said = {**flags, **arguments}
    if "gpus" not in said:
        flags["gpus"] = Given(visible, "the machine")
    elif _convert("gpus", said["gpus"]) > visible:
        raise ValueError(f"{said['gpus'].where}: gpus={said['gpus'].value}, but {visible} visible here; 0 is the CPU")
    if preset is None:
        on_gpu = _convert("gpus", said["gpus"]) if "gpus" in said else visible
        preset = _default_preset(_convert("env.game", said["env.game"]) if "env.game" in said else "", on_gpu)
    given = {**read_preset(preset), **flags, **arguments, "preset": Given(preset, "--preset")}
    return _assemble(given)


def read_preset(name: str) -> dict[str, Given]:
    """The settings that a preset's file gives, by dotted path. Raises ValueError for an unknown name."""
    if name not in presets():
        raise ValueError(f"--preset {name}: unknown preset{_near(name, presets())}; there are {', '.join(presets())}")
    path = PRESET_FOLDER / f"{name}.yaml"
    return _read_yaml(path, where=f"configs/{path.name}")


def load_config(path: str | Path) -> Config:
    """A run's `config.yaml` as `save_config` wrote it. Raises ValueError if it is not one."""
    return _assemble(_read_yaml(Path(path), where=str(path)))


def save_config(config: Config, path: str | Path) -> None:
    """Write every setting as YAML; `load_config` gives back an equal `Config`."""
    nested = asdict(config)
    nested["actor"] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in nested["actor"].items()
    }
    OmegaConf.save(OmegaConf.create(nested), Path(path))


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


def _default_preset(game: str, gpus: int) -> str:
    if game == "Catch":
        return "catch"
    if re.search(r"-v\d+$", game):
        from speedyzero.env.registry import check_game

        if not check_game(EnvConfig(game=game)).spec.is_image:
            return "cartpole"
    return "efficientzero" if gpus else "laptop"


def _read_argument(text: str) -> Iterable[tuple[str, Given]]:
    path, equals, words = text.partition("=")
    where = f"argument {text}"
    if not equals:
        raise ValueError(f"{where}: must be key=value, for example search.num_simulations=16")
    if path == "preset":
        raise ValueError(f"{where}: a preset is chosen with --preset {words}")
    if path in SETTINGS and SETTINGS[path].kind is str:
        return [(path, Given(words, where))]
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={words}"]))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error
    assert isinstance(value, dict)
    return list(_flatten(path, value["value"], where))


def _read_yaml(path: Path, *, where: str) -> dict[str, Given]:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {_one_line(error)}") from error
    return dict(_flatten("", tree, where))


def _flatten(path: str, value: Any, where: str) -> Iterator[tuple[str, Given]]:
    """Every leaf under a dotted path; "" is the whole config."""
    if path in SETTINGS:
        yield path, Given(value, where)
        return
    if path not in _GROUPS:
        raise ValueError(f"{where}: {_unknown(path)}")
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {path or 'the file'} is a group of settings ({', '.join(_inside(path))})")
    for name, inner in value.items():
        yield from _flatten(f"{path}.{name}" if path else str(name), inner, where)


def _assemble(given: Mapping[str, Given]) -> Config:
    """Defaults with what was given on top, converted and validated."""
    defaults = Config()
    tree = OmegaConf.create({})
    for path in SETTINGS:
        OmegaConf.update(tree, path, given[path].value if path in given else get(defaults, path), force_add=True)
    values = {}
    for path in SETTINGS:
        where = given[path].where if path in given else "the defaults"
        try:
            value = OmegaConf.select(tree, path)
        except OmegaConfBaseException as error:
            raise ValueError(f"{where}: {path}: {_one_line(error)}") from error
        values[path] = _convert(path, Given(value, where))
    config = _build(Config, values)
    try:
        validate(config)
    except ValueError as error:
        named = [path for path in given if re.search(rf"(?<![\w.]){re.escape(path)}(?![\w.])", str(error))]
        origin = "; ".join(f"{path} from {given[path].where}" for path in named)
        raise ValueError(f"{error}" + (f" ({origin})" if origin else "")) from error
    return config


def _build(cls: Any, values: Mapping[str, Any], group: str = "") -> Any:
    hints = get_type_hints(cls)
    return cls(
        **{
            field.name: _build(hints[field.name], values, f"{group}{field.name}.")
            if is_dataclass(hints[field.name])
            else values[group + field.name]
            for field in fields(cls)
        }
    )


def _convert(path: str, given: Given) -> Any:
    """The value in the setting's own type; 1e5 is an integer, 3 is a number, true is neither."""
    setting, value = SETTINGS[path], given.value
    is_number = _is_number(value)
    if setting.kind is int and is_number and value == value // 1:
        return int(value)
    if setting.kind is float and is_number:
        return float(value)
    if setting.kind is bool and isinstance(value, bool):
        return value
    if setting.kind is str and isinstance(value, str):
        if setting.choices and value not in setting.choices:
            allowed = ", ".join(setting.choices)
            raise ValueError(f"{given.where}: {path}={value}: must be one of {allowed}{_near(value, setting.choices)}")
        return value
    if setting.kind not in _KIND_NAMES and isinstance(value, Sequence) and not isinstance(value, str):
        if all(_is_number(entry) for entry in value):
            return tuple(float(entry) for entry in value)
    wanted = _KIND_NAMES.get(setting.kind, "a list of numbers, as [1.0, 0.5]")
    raise ValueError(f"{given.where}: {path}={value}: must be {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _inside(group: str) -> list[str]:
    """The names directly inside a group."""
    prefix = f"{group}." if group else ""
    return list(dict.fromkeys(path[len(prefix) :].split(".")[0] for path in SETTINGS if path.startswith(prefix)))


def _unknown(path: str) -> str:
    group = path.rpartition(".")[0]
    while group not in _GROUPS:
        group = group.rpartition(".")[0]
    same_name = [known for known in SETTINGS if known.rpartition(".")[2] == path.rpartition(".")[2]]
    near = f"; did you mean {same_name[0]}?" if same_name else _near(path, SETTINGS)
    return f"unknown setting {path}{near}; {group or 'the config'} has {', '.join(_inside(group))}"


def _near(word: str, known: Iterable[str]) -> str:
    lowered = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    return f"; did you mean {lowered[matches[0]]}?" if matches else ""


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
