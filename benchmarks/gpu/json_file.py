"""Results as JSON, written whole or not at all. Imports nothing heavy: the suite itself needs no torch."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all: whoever reads it never sees half of it. What is not finite is written as a word."""
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(json.dumps(plain(value), indent=1, allow_nan=False) + "\n")
    scratch.replace(path)


def plain(value: Any) -> Any:
    """The value in what JSON has."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return plain(vars(value)) if hasattr(value, "__dataclass_fields__") else str(value)
