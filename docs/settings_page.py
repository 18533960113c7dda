"""The page of all settings, made from `config.py`, `validation.py` and the presets: nothing in it is by hand.

python -m docs.settings_page          # writes docs/guide/settings.md; a test says when that is due
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from speedyzero.config import Config, get
from speedyzero.config import schema as config_module
from speedyzero.config.documents import presets, read_preset
from speedyzero.config.settings import SETTINGS, convert

PAGE = Path(__file__).parent / "guide" / "settings.md"
HEAD = """# Settings

Made by `python -m docs.settings_page` from the docstrings of `speedyzero/config/schema.py`; not written by hand.
Any of them is given as `key=value`, as in `python train.py --game Pong search.num_simulations=8`, or in a preset
(`configs/`). A run's `config.yaml` has all of them as used.
"""
_COLUMNS = """
| setting | default | allowed | meaning | presets |
|---|---|---|---|---|
"""
_KINDS = {bool: "true, false", str: "text", int: "integer", float: "number"}


def page() -> str:
    meanings, changes = _meanings(), {name: read_preset(name) for name in presets()}
    parts, group = [HEAD], None
    for path in SETTINGS:
        if (path.rpartition(".")[0]) != group:
            group = path.rpartition(".")[0]
            title = f"`{group}`" if group else "The run"
            parts.append(f"\n## {title}\n\n{meanings[group]}\n{_COLUMNS}")
        in_presets = ", ".join(
            f"{name} {_shown(convert(path, given[path]))}" for name, given in changes.items() if path in given
        )
        default = _shown(get(Config(), path))
        parts.append(f"| `{path}` | {default} | {_allowed(path)} | {meanings.get(path, '')} | {in_presets} |\n")
    return "".join(parts)


def _allowed(path: str) -> str:
    setting = SETTINGS[path]
    if setting.choices:
        return ", ".join(setting.choices)
    return setting.range or _KINDS.get(setting.kind, "list" if "tuple" in str(setting.kind) else "mapping")


def _shown(value: Any) -> str:
    if value == "":
        return "(empty)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, tuple) else str(value)


def _meanings() -> Mapping[str, str]:
    """What the docstrings say of each setting, and of each group, by its path."""
    tree = ast.parse(inspect.getsource(config_module))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, str] = {}

    def walk(cls: Any, prefix: str) -> None:
        found[prefix.rstrip(".")] = _one_line(inspect.getdoc(cls) or "")
        body, hints = classes[cls.__name__].body, get_type_hints(cls)
        for here, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(here, ast.AnnAssign) or not isinstance(here.target, ast.Name):
                continue
            name = here.target.id
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                found[prefix + name] = _one_line(str(after.value.value))
            if is_dataclass(hints[name]):
                walk(hints[name], f"{prefix}{name}.")

    walk(Config, "")
    return found


def _one_line(text: str) -> str:
    """For a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written {PAGE}")
