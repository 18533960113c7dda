"""Processes that are started: they die with whoever started them, in the middle of their start too."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_S = 60.0


def test_a_process_that_still_imports_dies_with_its_parent(tmp_path, monkeypatch):
    begun = tmp_path / "begun"
    monkeypatch.setenv("SLOW_IMPORT_HAS_BEGUN", str(begun))
    command = [sys.executable, "-m", "tests.supervisor.lost_parent"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(begun.exists, "the child imports")
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the child has died")


def wait_until(condition, what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.02)
