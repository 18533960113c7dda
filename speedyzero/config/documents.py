"""Reading, checking and writing a `Config`: presets, a run's `config.yaml`, a checkpoint's settings.

OmegaConf reads the YAML and resolves `${...}`; `settings.py` knows names and types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speedyzero.config.declare import EXECUTION, IDENTITY, PARALLEL
from speedyzero.config.placement import place
from speedyzero.config.schema import Config, get
from speedyzero.config.settings import SETTINGS, Given, build, convert, flatten, near, used_as
from speedyzero.config.validation import validate
from speedyzero.system.atomic_file import write_atomically

_HERE = Path(__file__).resolve().parents[1]

# Inside the package where it is installed, at top level in a checkout.
PRESET_FOLDER = _HERE / "configs" if (_HERE / "configs").is_dir() else _HERE.parent / "configs"

PARITY_PRESET = "efficientzero"


@dataclass(frozen=True)
class Deviation:
    """A setting that differs from the paper's."""

    field: str
    here: Any
    paper: Any


def presets() -> list[str]:
    """The names that `--preset` takes."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.yaml"))


def read_preset(name: str) -> dict[str, Given]:
    """The settings that a preset's file gives, by dotted path. Raises ValueError for an unknown name."""
    if name not in presets():
        raise ValueError(f"--preset {name}: unknown preset{near(name, presets())}; there are {', '.join(presets())}")
    path = PRESET_FOLDER / f"{name}.yaml"
    return _read_yaml(path, where=f"configs/{path.name}")


def load_config(path: str | Path) -> Config:
    """Read a run's `config.yaml`, written by `save_config`. Raises ValueError if it is not one."""
    values = _read_yaml(Path(path), where=str(path))
    if not values:
        raise ValueError(f"{path}: is empty, not a run's settings")
    return assemble(values)


def save_config(config: Config, path: str | Path) -> None:
    """Write every setting as YAML; `load_config` returns an equal `Config`."""
    text = OmegaConf.to_yaml(_tree({setting: get(config, setting) for setting in SETTINGS}))
    write_atomically(path, text.encode())


def config_document(config: Config) -> dict[str, Any]:
    """Every setting by its dotted path, as strict JSON, for a checkpoint."""
    values = {path: get(config, path) for path in SETTINGS}
    return {path: list(value) if isinstance(value, tuple) else value for path, value in values.items()}


def read_config_document(document: Any, where: str) -> Config:
    """The inverse of `config_document`; missing settings get their defaults. where: for error messages.

    Raises ValueError for an invalid document.
    """
    return assemble(dict(flatten("", document, where)))


def override(config: Config, given: Mapping[str, Given]) -> Config:
    """A copy of a Config with some settings replaced. Raises ValueError as `resolve`."""
    before = {path: Given(get(config, path), "the run's config") for path in SETTINGS}
    return assemble({**before, **given})


def deviations(config: Config) -> list[Deviation]:
    """The settings in which this run's computation differs from the code of EfficientZero's paper."""
    paper = assemble(read_preset(PARITY_PRESET))
    execution = used_as(EXECUTION | IDENTITY | PARALLEL)
    return [
        Deviation(path, get(config, path), get(paper, path))
        for path in SETTINGS
        if path not in execution and get(config, path) != get(paper, path)
    ]


def _read_yaml(path: Path, *, where: str) -> dict[str, Given]:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{where}: {one_line(error)}") from error
    return dict(flatten("", tree, where))


def assemble(given: Mapping[str, Given]) -> Config:
    """The defaults updated with the given settings, converted and validated."""
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
    """Resolve `${group.setting}`. Without any, the tree is not built: that takes 0.1 s, and a benchmark of 26 games
    checks 130 runs before it begins."""
    if not any("${" in str(one.value) for one in written.values()):
        return written
    tree, found = _tree({path: written[path].value for path in SETTINGS}), {}
    for path, one in written.items():
        try:
            found[path] = Given(OmegaConf.select(tree, path), one.where)
        except OmegaConfBaseException as error:
            raise ValueError(f"{one.where}: {path}: {one_line(error)}") from error
    return found


def _tree(values: Mapping[str, Any]) -> DictConfig:
    tree = OmegaConf.create({})
    for path, value in values.items():
        OmegaConf.update(tree, path, list(value) if isinstance(value, tuple) else value, force_add=True)
    return tree


def one_line(error: Exception) -> str:
    text = str(error)
    return text.splitlines()[0] if isinstance(error, OmegaConfBaseException) else " ".join(text.split())
