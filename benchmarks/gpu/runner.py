"""Run the stages one after the other, each as a process with a time limit; whatever happens to one, the next one comes.

After each stage everything known so far is in gpu_suite.json. A stage ends as

    ok           it ran, and what it checked was right
    failed       it ran and found something wrong (correctness stages)
    incomplete   it ran out of time; what it found until then counts, for a correctness stage it is not enough
    crashed      it ended with a traceback or by a signal
    timed out    it was killed; what it had kept is there
    skipped      a package or a tool is missing, or there was no time: by name
    no gpu       torch sees none: nothing else is tried
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.gpu.json_file import write_json
from benchmarks.gpu.stages import NOMINAL_BUDGET_S, Stage

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "benchmarks" / "gpu_suite.py"
JSON_NAME, LOG_NAME = "gpu_suite.json", "gpu_suite.log"
EXIT_SKIPPED, EXIT_NO_GPU = 4, 5  # of a stage's process
SHORTEST_S = 2.0  # a stage with less than this is not begun
LARGEST_LOG_BYTES = 4 << 20
# Stages kill processes, which may harm others that go through an MPS daemon. Whose pipe is nowhere goes through none.
NO_MPS = {"CUDA_MPS_PIPE_DIRECTORY": "/nonexistent"}
GRACE_S = 3.0  # between the time a stage is to end by itself and its being killed, at most


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    name: str
    status: str
    reason: str
    seconds: float
    is_failure: bool  # the suite fails by it
    results: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(stage: Stage, status: str, reason: str, *, seconds: float = 0.0, results: dict | None = None) -> Outcome:
        was_cut = status in ("incomplete", "timed out")
        is_well = status in ("ok", "skipped", "no gpu") or (was_cut and stage.may_be_cut)
        return Outcome(stage.name, status, reason, seconds, stage.is_correctness and not is_well, results or {})


def run_stages(
    stages: Sequence[Stage], *, out: Path, budget_s: float, is_rehearsal: bool, about: dict[str, Any]
) -> list[Outcome]:
    """All stages, in order. about: what the JSON says besides their outcomes."""
    outcomes: list[Outcome] = []
    scale = budget_s / NOMINAL_BUDGET_S
    start_s = time.monotonic()
    scheduled_end_s = start_s
    label = "REHEARSAL " if is_rehearsal else ""
    for stage in stages:
        scheduled_end_s += stage.seconds * scale
        limit_s = min(scheduled_end_s, start_s + budget_s) - time.monotonic()
        outcome = _run_stage(stage, out=out, limit_s=limit_s, is_rehearsal=is_rehearsal)
        outcomes.append(outcome)
        write_json(out / JSON_NAME, {**about, "rehearsal": is_rehearsal, "stages": outcomes})
        reason = f": {outcome.reason}" if outcome.reason else ""
        print(f"{label}{stage.name:16} {outcome.status:10} {outcome.seconds:6.1f} s{reason}", flush=True)
        if outcome.status == "no gpu":
            break
    return outcomes


def _run_stage(stage: Stage, *, out: Path, limit_s: float, is_rehearsal: bool) -> Outcome:
    missing = [package for package in stage.packages if importlib.util.find_spec(package) is None]
    if missing:
        return Outcome.of(stage, "skipped", f"not installed: {', '.join(missing)}")
    if limit_s < SHORTEST_S:
        return Outcome.of(stage, "skipped", "no time was left")
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as scratch:
        result_path, log_path = Path(scratch) / "result.json", Path(scratch) / "log"
        started_s = time.monotonic()
        command = [
            sys.executable, str(SUITE), "--stage", stage.module or stage.name, "--out", str(out),
            "--limit-s", f"{limit_s - min(GRACE_S, 0.2 * limit_s):.1f}", "--result", str(result_path),
        ]  # fmt: skip
        if is_rehearsal:
            command.append("--cpu-rehearsal")
        with log_path.open("wb") as log:
            code = _run_process(command, log, limit_s=limit_s, environment=_environment(stage, is_rehearsal))
        seconds = time.monotonic() - started_s
        lines = log_path.read_bytes()[-LARGEST_LOG_BYTES:].decode(errors="replace").splitlines()
        _append_log(out / LOG_NAME, stage.name, lines, is_rehearsal=is_rehearsal)
        results = _read_results(result_path)
    status, reason = _judge(code, results, lines, limit_s=limit_s)
    return Outcome.of(stage, status, reason, seconds=seconds, results=results)


def _environment(stage: Stage, is_rehearsal: bool) -> dict[str, str]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **NO_MPS}
    environment.pop("TRITON_INTERPRET", None)
    if is_rehearsal:
        environment["CUDA_VISIBLE_DEVICES"] = ""
        if stage.interpreter:
            environment["TRITON_INTERPRET"] = "1"
    return environment


def _run_process(command: list[str], log: Any, *, limit_s: float, environment: dict[str, str]) -> int | None:
    """The exit code; None where it was killed, with all that it had started in its own session."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and so has everything it started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _judge(code: int | None, results: dict[str, Any], lines: list[str], *, limit_s: float) -> tuple[str, str]:
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    if code is None:
        return "timed out", f"killed after {limit_s:.0f} s; the last it said: {last}"
    if code == EXIT_SKIPPED:
        return "skipped", last
    if code == EXIT_NO_GPU:
        return "no gpu", last
    if code != 0:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        return "crashed", f"{how}: {last}"
    failures, unfinished = results.get("failures") or [], results.get("unfinished") or []
    if failures:
        return "failed", f"{len(failures)} wrong, the first: {failures[0]}"
    if unfinished:
        return "incomplete", f"no time for {len(unfinished)} more, from {unfinished[0]} on"
    return "ok", ""


def _read_results(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _append_log(path: Path, name: str, lines: list[str], *, is_rehearsal: bool) -> None:
    label = "REHEARSAL " if is_rehearsal else ""
    with path.open("a") as log:
        for line in [f"==== {name} ====", *lines]:
            log.write(f"{label}{line}\n")
