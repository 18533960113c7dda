"""Messages between supervisor and fork server, over their pipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Order:
    target: Callable[..., None]
    arguments: tuple


@dataclass(frozen=True)
class ServerEvent:
    """From the server: it is ready, a process has begun or ended, or why none could begin."""

    what: Literal["ready", "began", "ended", "failed"]
    pid: int = 0
    exit_code: int = 0
    why: str = ""
