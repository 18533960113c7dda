"""The flat view of `Config`: every setting by its dotted path, and the conversion of given values.

Names, types and choices come from the dataclasses of `schema.py`. An error names the setting, where it was given, the
allowed values and the nearest valid name.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from speedyzero.config.declare import NONE, Use
from speedyzero.config.schema import Config

_NUMBERS = tuple[float, ...]
_INTEGERS = tuple[int, ...]
_MAPPING = dict[str, Any]
_KIND_NAMES = {
    int: "an integer (64 bits)",
    float: "a number",
    bool: "true or false",
    str: "text",
    _NUMBERS: "a list of numbers, as [1.0, 0.5]",
    _INTEGERS: "a list of integers, as [0, 1]",
    _MAPPING: "names with values, as {size: 5}",
}


@dataclass(frozen=True)
class Setting:
    """One leaf of `Config`."""

    kind: Any
    """A key of `_KIND_NAMES`."""
    choices: tuple[str, ...] = ()
    """The allowed texts; empty: any."""
    range: str = ""
    """One of `declare.RANGES`; of every number."""
    use: Use = NONE


@dataclass(frozen=True)
class Given:
    """A value as given, and where: a file, a flag or an argument."""

    value: Any
    where: str


def _walk(cls: Any, prefix: str, group_use: Use = NONE) -> Iterator[tuple[str, Setting]]:
    hints = get_type_hints(cls)
    for field in fields(cls):
        kind, known = hints[field.name], field.metadata
        use = group_use | known.get("use", NONE)
        if is_dataclass(kind):
            yield from _walk(kind, f"{prefix}{field.name}.", use)
        else:
            yield prefix + field.name, Setting(kind, known.get("choices", ()), known.get("range", ""), use)


SETTINGS: Mapping[str, Setting] = dict(_walk(Config, ""))
_GROUPS = {""} | {path[: dot.start()] for path in SETTINGS for dot in re.finditer(r"\.", path)}


def used_as(use: Use) -> frozenset[str]:
    """Paths of the settings that have one of these uses."""
    return frozenset(path for path, setting in SETTINGS.items() if setting.use & use)


def build(values: Mapping[str, Any]) -> Config:
    """The Config with these values, which must include every path of `SETTINGS`."""
    return _build(Config, values, "")


def _build(cls: Any, values: Mapping[str, Any], prefix: str) -> Any:
    hints = get_type_hints(cls)
    arguments = {}
    for field in fields(cls):
        path = prefix + field.name
        nested = is_dataclass(hints[field.name])
        arguments[field.name] = _build(hints[field.name], values, f"{path}.") if nested else values[path]
    return cls(**arguments)


def flatten(path: str, value: Any, where: str) -> Iterator[tuple[str, Given]]:
    """Every setting of a nested mapping at or under a dotted path ("": the whole config).

    Raises ValueError for an unknown setting.
    """
    if path in SETTINGS:
        yield path, Given(value, where)
        return
    if path not in _GROUPS:
        raise ValueError(f"{where}: {_unknown(path)}")
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {path or 'this'} must be a group of settings: {', '.join(_inside(path))}")
    for name, inner in value.items():
        yield from flatten(f"{path}.{name}" if path else str(name), inner, where)


def convert(path: str, given: Given) -> Any:
    """The value in the setting's type: 1e5 is an integer, 3 is a number, true is neither.

    Raises ValueError for another type or a value that is not among the choices.
    """
    setting, value = SETTINGS[path], given.value
    if setting.kind is int and _is_integer(value):
        return int(value)
    if setting.kind is float and _is_number(value):
        return float(value)
    if setting.kind is bool and isinstance(value, bool):
        return value
    if setting.kind is str and isinstance(value, bool) and (word := str(value).lower()) in setting.choices:
        return word  # YAML's true, where `auto` is a choice too
    if setting.kind == _MAPPING and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return dict(value)
    if setting.kind is str and isinstance(value, str):
        if setting.choices and value not in setting.choices:
            allowed = ", ".join(setting.choices)
            raise ValueError(f"{given.where}: {path}={value}: must be one of {allowed}{near(value, setting.choices)}")
        return value
    if setting.kind == _NUMBERS and isinstance(value, Sequence) and all(_is_number(entry) for entry in value):
        return tuple(float(entry) for entry in value)
    if setting.kind == _INTEGERS and isinstance(value, Sequence) and all(map(_is_integer, value)):
        return tuple(int(entry) for entry in value)
    raise ValueError(f"{given.where}: {path}={value}: must be {_KIND_NAMES[setting.kind]}")


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` with the closest known name, or an empty string."""
    lowered = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f"; did you mean {lowered[matches[0]]}?" if matches else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and value == value // 1


def _inside(group: str) -> list[str]:
    """The names directly inside a group."""
    prefix = f"{group}." if group else ""
    return list(dict.fromkeys(path[len(prefix) :].split(".")[0] for path in SETTINGS if path.startswith(prefix)))


def _unknown(path: str) -> str:
    group = path.rpartition(".")[0]
    while group not in _GROUPS:
        group = group.rpartition(".")[0]
    same_name = [known for known in SETTINGS if known.rpartition(".")[2] == path.rpartition(".")[2]]
    hint = f"; did you mean {same_name[0]}?" if same_name else near(path, SETTINGS)
    return f"unknown setting {path}{hint}; {group or 'the config'} has {', '.join(_inside(group))}"
