"""Runs commands as child processes, a few at a time; the children end with their parent.

    waiting -> running (one in each slot) -> ended, with its exit code

Each child is a session of its own, so Ctrl-C reaches only the parent, which forwards it and waits for the children to
shut down. If the parent dies, the kernel sends its children SIGTERM.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.system.prctl import die_with

TICK_S = 0.05
PATIENCE_S = 60.0  # between SIGINT and SIGKILL


@dataclass(frozen=True)
class Job:
    name: str
    command: tuple[str, ...]
    output: Path
    """Receives the command's stdout and stderr."""


@dataclass(frozen=True)
class Ended:
    job: Job
    exit_code: int
    """Negative: killed by that signal."""
    duration_s: float


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen
    started_s: float


def run_jobs(
    jobs: Sequence[Job],
    *,
    slots: Sequence[Mapping[str, str]],
    descriptor: int,
    started: Callable[[Job], None],
    ended: Callable[[Ended], None],
) -> None:
    """Run all jobs in order, one per slot at a time, also if some fail.

    slots: environment variables of the command in each slot. descriptor: of a lock file, which every child inherits, so
    that the lock outlives a killed parent until its last child ends. started: called before a command starts. Raises
    KeyboardInterrupt after one of `STOP_SIGNALS`, once all children have ended.
    """
    waiting = list(jobs)
    running: list[_Running | None] = [None] * len(slots)
    with Interrupts() as interrupts:
        try:
            while waiting or any(running):
                if interrupts.count:
                    raise KeyboardInterrupt
                for slot, child in enumerate(running):
                    if child is not None and child.process.poll() is not None:
                        running[slot] = None
                        ended(Ended(child.job, child.process.returncode, time.monotonic() - child.started_s))
                    if running[slot] is None and waiting and not interrupts.count:
                        job = waiting.pop(0)
                        started(job)
                        running[slot] = _start(job, slots[slot], descriptor)
                time.sleep(TICK_S)
        finally:
            _end([child.process for child in running if child is not None], interrupts)


def _start(job: Job, environment: Mapping[str, str], descriptor: int) -> _Running:
    parent = os.getpid()
    with open(job.output, "wb") as output:
        process = subprocess.Popen(
            job.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            pass_fds=(descriptor,),
            start_new_session=True,
            preexec_fn=partial(die_with, parent, signal.SIGTERM),
        )
    return _Running(job, process, time.monotonic())


def _end(processes: Sequence[subprocess.Popen], interrupts: Interrupts) -> None:
    """Send the children SIGINT, again for each further Ctrl-C, and kill those that do not end in time."""
    passed_on, patient_until_s = -1, time.monotonic() + PATIENCE_S
    while alive := [process for process in processes if process.poll() is None]:
        if interrupts.count > passed_on:
            passed_on = interrupts.count
            for process in alive:
                process.send_signal(signal.SIGINT)
        if time.monotonic() > patient_until_s:
            for process in alive:
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(TICK_S)
