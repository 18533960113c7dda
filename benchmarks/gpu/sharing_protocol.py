"""Between the sharing stage and its two workers: lines on their pipes.

    worker -> stage   SHARING {"ready": true}
    stage -> worker   3.0                          work for so many seconds
    worker -> stage   SHARING {"per_s": 1234.5}
    stage -> worker   end of file                  done

Each worker is a process of the suite, `--stage benchmarks.gpu.sharing_search` or `..._train`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.runner import ROOT, SUITE

MARK = "SHARING "


def serve(context: Context, work: Callable[[], int]) -> dict[str, Any]:
    """A worker's life, once it is warm. work: a unit of it, waited for; returns how many items it was."""
    _say(ready=True)
    for line in sys.stdin:
        started_s, items = time.monotonic(), 0
        while time.monotonic() - started_s < float(line):
            items += work()
        context.sync()
        _say(per_s=items / (time.monotonic() - started_s))
    return {}


def _say(**found: Any) -> None:
    print(MARK + json.dumps(found), flush=True)


class Worker:
    """A worker seen from the stage."""

    def __init__(self, name: str, context: Context):
        command = [
            sys.executable, str(SUITE), "--stage", f"benchmarks.gpu.sharing_{name}", "--out", str(context.out),
            *(["--cpu-rehearsal"] if context.is_rehearsal else []),
        ]  # fmt: skip
        self.name, self._said = name, b""
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n".encode())
        self._process.stdin.flush()

    def answer(self, deadline_s: float) -> dict[str, Any]:
        """The next answer. Raises RuntimeError where the worker ended, TimeoutError where it is silent."""
        while True:
            line = self._line(deadline_s)
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
            print(f"{self.name}: {line}")

    def _line(self, deadline_s: float) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._said:
            if not select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                raise TimeoutError(f"the worker {self.name} said nothing in time")
            read = os.read(descriptor, 1 << 16)
            if not read:
                raise RuntimeError(f"the worker {self.name} ended with {self._process.wait()}")
            self._said += read
        line, _, self._said = self._said.partition(b"\n")
        return line.decode(errors="replace")

    def end(self) -> None:
        """Let it end, and see that it does."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
