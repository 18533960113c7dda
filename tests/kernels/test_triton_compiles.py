"""Every Triton kernel compiles, within the registers, stack and shared memory that its case allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernels.compile_all import all_cases
from tests.kernels.sm90 import Case

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    """Case name -> what compiling it gave. In a process of its own: under the interpreter nothing compiles."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_all"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_compiles(results: dict[str, dict], case: Case) -> None:
    found = results[case.name]
    assert "error" not in found, found["error"]
    assert found["stack_bytes"] <= case.max_stack_bytes, found
    assert found["shared_bytes"] <= case.max_shared_bytes, found
    assert found["registers"] <= case.max_registers, found
    assert found["has_wgmma"] or not case.needs_wgmma, found
    assert found["barriers"] >= case.min_barriers, found
    assert not found["found"], found
