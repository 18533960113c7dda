"""Whether processes are gone, and waiting for what they do."""

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 60.0  # far beyond any wait that succeeds


def is_gone(pid: int) -> bool:
    """Also where nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    started_s = time.monotonic()
    while not condition():
        assert time.monotonic() - started_s < LIMIT_S
        time.sleep(0.01)
