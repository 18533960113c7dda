"""The project's own tests of the kernels, which run on the GPU where there is one: in the time that is left over."""

import re
import subprocess
import sys
from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.runner import ROOT

_COUNT = re.compile(r"^\S+::.* (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b", re.MULTILINE)


def run(context: Context) -> dict[str, Any]:
    subject = context.size("tests/kernels", "tests/kernels/test_lstm_cell.py")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", subject]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    unfinished = []
    try:
        said, _ = process.communicate(timeout=max(0.1, context.left_s))
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        unfinished = ["the rest of the tests"]
    print(said)
    counts, failures = judge(said)
    if process.returncode not in (0, 1) and not unfinished:
        failures.append(f"pytest ended with {process.returncode}")
    seen = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return {"counts": counts, "seen": seen, "failures": failures, "unfinished": unfinished}


def judge(said: str) -> tuple[dict[str, int], list[str]]:
    """How many tests ended how, and those that failed."""
    counts: dict[str, int] = {}
    for verdict in _COUNT.findall(said):
        counts[verdict.lower()] = counts.get(verdict.lower(), 0) + 1
    wrong = [line for line in said.splitlines() if re.match(r"^\S+::.* (FAILED|ERROR)\b", line)]
    return counts, wrong
