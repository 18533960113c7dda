"""Results as JSON, written whole or not at all. Imports nothing heavy: the suite itself needs no torch."""

from pathlib import Path
from typing import Any

from speedyzero.system import atomic_file


def write_json(path: Path, value: Any) -> None:
    """What is not finite is written as a word."""
    atomic_file.write_json(path, plain(value))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    return plain(vars(value)) if hasattr(value, "__dataclass_fields__") else str(value)
