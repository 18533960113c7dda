"""What supervisor and fork server tell each other over their pipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Order:
    target: Callable[..., None]
    arguments: tuple


@dataclass(frozen=True)
class Told:
    """By the server: that it is ready, that a process began or ended, why it could begin none."""

    what: Literal["ready", "began", "ended", "failed"]
    pid: int = 0
    exit_code: int = 0
    why: str = ""
