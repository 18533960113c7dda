"""Every kernel once, tiny, under compute-sanitizer: memcheck for accesses out of bounds, racecheck for races.

racecheck sees races in shared memory, not in device memory: what one thread of a program stores and another loads is
checked by values alone, in `tree_kernels`. The two tools run side by side; what they said is in sanitizer.txt.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu.context import Context, Skip
from benchmarks.gpu.runner import ROOT, SUITE

TOOLS = {
    "memcheck": re.compile(r"ERROR SUMMARY: (\d+) error"),
    "racecheck": re.compile(r"RACECHECK SUMMARY: (\d+) hazard"),
}
USUAL_PLACE = Path("/usr/local/cuda/bin/compute-sanitizer")
UNSUPPORTED = ("Device not supported", "not supported on this", "Unable to find")
FILE_NAME = "sanitizer.txt"
LARGEST_CHARACTERS = 1 << 20


def run(context: Context) -> dict[str, Any]:
    child = [sys.executable, str(SUITE), "--stage", "benchmarks.gpu.sanitized", "--out", str(context.out)]
    if context.is_rehearsal:  # the kernels without the tools
        environment = {**os.environ, "TRITON_INTERPRET": "1"}
        command = [*child, "--cpu-rehearsal"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=context.left_s
        )
        failures = [] if done.returncode == 0 else [done.stderr[-500:]]
        return {"tools": {}, "seen": "the launches, without the tools", "failures": failures}
    tool = shutil.which("compute-sanitizer") or (str(USUAL_PLACE) if USUAL_PLACE.exists() else None)
    if tool is None:
        raise Skip("not installed: compute-sanitizer")
    # Without torch's cache of device memory every tensor has bounds of its own.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    running = {
        name: subprocess.Popen(
            [tool, "--tool", name, "--launch-timeout", "0", "--print-limit", "20", *child],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in TOOLS
    }  # fmt: skip
    said: dict[str, str] = {}
    late: list[str] = []
    for name, process in running.items():
        try:
            said[name] = process.communicate(timeout=max(0.1, context.left_s))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            said[name] = process.communicate()[0]
            late.append(name)
    text = "\n".join(f"==== {name} ====\n{lines[-LARGEST_CHARACTERS:]}" for name, lines in said.items())
    (context.out / FILE_NAME).write_text(text)
    if any(word in lines for lines in said.values() for word in UNSUPPORTED):
        raise Skip("compute-sanitizer does not support this machine, see sanitizer.txt")
    found = {name: judge(name, lines, running[name].returncode) for name, lines in said.items() if name not in late}
    failures = [f"{name}: {verdict}" for name, verdict in found.items() if verdict != "nothing found"]
    seen = ", ".join(f"{name}: {verdict}" for name, verdict in found.items())
    return {"tools": found, "seen": seen, "failures": failures, "unfinished": late}


def judge(name: str, lines: str, code: int) -> str:
    """What a tool found, in words."""
    summary = TOOLS[name].search(lines)
    if summary is None:
        return f"no summary, exit {code}"
    if summary[1] != "0" or code != 0:
        return f"{summary[1]} found, exit {code}"
    return "nothing found"
