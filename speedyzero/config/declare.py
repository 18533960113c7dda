"""How `schema.py` declares a setting: its default with its range, its choices and its use, as a field's metadata."""

from dataclasses import field, fields
from enum import Flag
from typing import Any


class Use(Flag):
    """What a setting is, beside its value: who may change it later, and what compares runs by it."""

    EXECUTION = 1  # where and how a run happens, not what it computes: may differ on resume, and between runs compared
    EVALUATION = 2  # how it is scored: may differ on resume
    LAYOUT = 4  # numbers of processes, environments and GPUs: `--reshard` may change it
    MAY_GROW = 8  # a length: a resume may raise it
    IDENTITY = 16  # which experiment it is: game and seed
    PARALLEL = 32  # in how many parts the same batch is made and trained on


EXECUTION, EVALUATION, LAYOUT, MAY_GROW, IDENTITY, PARALLEL = Use
NONE = Use(0)
RANGES = ABOVE_0, AT_LEAST_0, FROM_0_TO_1 = "above 0", "0 or more", "0 to 1"


def plain(default: Any, use: Use = NONE) -> Any:
    """A field of any value."""
    return field(default=default, metadata={"use": use})


def positive(default: Any, use: Use = NONE) -> Any:
    """A number above 0."""
    return field(default=default, metadata={"range": ABOVE_0, "use": use})


def not_negative(default: Any, use: Use = NONE) -> Any:
    """A number of 0 or more."""
    return field(default=default, metadata={"range": AT_LEAST_0, "use": use})


def fraction(default: float, use: Use = NONE) -> float:
    """A number from 0 to 1."""
    return field(default=default, metadata={"range": FROM_0_TO_1, "use": use})


def choice(default: str, *allowed: str, use: Use = NONE) -> str:
    """A string field that may only take one of `allowed`."""
    return field(default=default, metadata={"choices": allowed, "use": use})


def choices(stage: type, name: str) -> tuple[str, ...]:
    """The allowed values of a `choice` field: `choices(TargetConfig, "value")`."""
    return next(one for one in fields(stage) if one.name == name).metadata["choices"]
