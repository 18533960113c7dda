"""Starts a process whose module takes long to import, says its pid, and waits to be killed. For `test_child.py`."""

import sys
import time

from speedyzero.supervisor.child import start_shielded


class SlowTarget:
    """`tests.supervisor.slow_import.main`, named without importing it here."""

    def __call__(self) -> None: ...

    def __reduce__(self):
        return _slow, ()


def _slow():
    from tests.supervisor import slow_import

    return slow_import.main


if __name__ == "__main__":
    process = start_shielded(SlowTarget(), (), name="slow")
    print(process.pid, flush=True)
    time.sleep(300)
    sys.exit(1)
