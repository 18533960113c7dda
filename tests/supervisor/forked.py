"""What processes do in `test_fork_server.py`."""

import os
import signal
import sys
import time
from pathlib import Path


def sleep_long() -> None:
    time.sleep(300)


def hold_memory() -> None:
    held = bytearray(os.urandom(1 << 16)) * 3000  # 188 MiB, which the kernel has to take apart
    time.sleep(300)
    del held


def leave_with(code: object) -> None:
    sys.exit(code)


def fail() -> None:
    raise ArithmeticError("the reason")


def tell(path: Path) -> None:
    """What this process is like."""
    blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    path.write_text(f"{os.getppid()} {[int(one) for one in blocked]} {'numba' in sys.modules} {os.environ['TOLD']}")
