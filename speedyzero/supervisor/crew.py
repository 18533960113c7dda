"""The role processes of one run: start them, look after them, end them.

Who dies, and what follows: an actor or the reanalyzer is replaced (its successor takes over rings and shard as they
stand); a learner's death ends the run with its traceback; the supervisor's death takes everybody along.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from speedyzero.actor import process as actor_process
from speedyzero.config import Config
from speedyzero.learner import process as learner_process
from speedyzero.reanalyze import process as reanalyze_process
from speedyzero.role_process import DONE, WORKING, ProcessSpec, crash_file
from speedyzero.shm import Board, is_alive
from speedyzero.wiring import LEARNER, REANALYZER, SUPERVISOR, Wiring

START_DEADLINE_S = 120.0  # imports and numba's first compilation on a slow machine
STOP_DEADLINE_S = 10.0
HANG_S = 60.0  # without a heartbeat; one step of a role takes seconds at most
MAX_RESTARTS = 5  # of one process in a run


class RunFailed(RuntimeError):
    """A run that cannot go on; the message names the process and carries its traceback."""


@dataclass
class Child:
    """One role's process, and the process objects of its predecessors' count."""

    spec: ProcessSpec
    target: Callable[..., None]
    arguments: tuple
    process: BaseProcess | None = None
    restarts: int = 0
    reports: list[str] = field(default_factory=list)

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(
            target=self.target, args=(self.spec, *self.arguments), name=f"speedyzero-{self.spec.name}", daemon=False
        )
        self.process.start()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()


class Crew:
    """The role processes of one run."""

    def __init__(self, config: Config, wiring: Wiring, run_dir: Path, board: Board, *, note: Callable[[str], None]):
        self._board, self._run_dir, self._note = board, run_dir, note
        self._row = board.row(SUPERVISOR)
        threads = threads_per_process(len(wiring.processes))

        def child(name: str, target: Callable[..., None], *arguments: object) -> Child:
            device = "cuda" if config.gpus else "cpu"
            return Child(ProcessSpec(name, config, wiring, run_dir, device, threads, os.getpid()), target, arguments)

        self.children = [
            child(LEARNER, learner_process.main),
            child(REANALYZER, reanalyze_process.main),
            *(child(f"actor-{index}", actor_process.main, index) for index in range(config.actor.actors)),
        ]

    def start(self, *, interrupted: Callable[[], bool]) -> None:
        """Start everybody and wait until all of them work.

        Raises RunFailed, naming whom it waited for, past the deadline.
        """
        for child in self.children:
            child.start()
        deadline_s = time.monotonic() + START_DEADLINE_S
        while waited_for := [c.spec.name for c in self.children if self._board.state(c.spec.name) < WORKING]:
            if interrupted():
                return
            self.replace_dead()
            if time.monotonic() > deadline_s:
                raise RunFailed(f"still starting after {START_DEADLINE_S:.0f} s: {', '.join(waited_for)}")
            time.sleep(0.05)

    @property
    def learner_done(self) -> bool:
        return self._board.state(LEARNER) == DONE

    def replace_dead(self) -> None:
        """Look after everybody once. Raises RunFailed for a learner's death or one restart too many."""
        for child in self.children:
            self._kill_if_hung(child)
            if child.alive or self._board.state(child.spec.name) == DONE:
                continue
            assert child.process is not None
            report = self._report_of(child)
            child.reports.append(report)
            if child.spec.name == LEARNER or child.restarts >= MAX_RESTARTS:
                times = f" for the {child.restarts + 1}th time" if child.restarts else ""
                raise RunFailed(f"{child.spec.name} died{times}: {child.reports[0]}")
            child.restarts += 1
            self._row.add("restarts")
            self._note(f"{child.spec.name} died and is replaced ({child.restarts} of {MAX_RESTARTS}): {report}")
            child.start()

    def stop(self, *, hurry: Callable[[], bool]) -> None:
        """Ask everybody to end, wait, and kill whoever is left."""
        self._row.request_stop()
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        while any(child.alive for child in self.children) and time.monotonic() < deadline_s and not hurry():
            time.sleep(0.02)
        for child in self.children:
            if child.alive:
                assert child.process is not None
                self._note(f"{child.spec.name} did not end and is killed")
                child.process.kill()
            if child.process is not None:
                child.process.join()

    def _kill_if_hung(self, child: Child) -> None:
        age_s = self._board.heartbeat_age_s(child.spec.name)
        working = self._board.state(child.spec.name) == WORKING
        holder = self._board.process(child.spec.name)
        if child.alive and working and age_s is not None and age_s > HANG_S and holder and is_alive(holder):
            assert child.process is not None
            self._note(f"{child.spec.name} has shown no heartbeat for {age_s:.0f} s and is killed")
            child.process.kill()
            child.process.join()

    def _report_of(self, child: Child) -> str:
        """Why a process ended: its traceback, or the signal."""
        assert child.process is not None
        path = crash_file(self._run_dir, child.spec.name)
        if path.exists():
            report = path.read_text()
            path.unlink()
            return "\n" + report
        code = child.process.exitcode
        return f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def threads_per_process(processes: int) -> int:
    """Tensor threads of each role, so that together they do not oversubscribe the cores."""
    return max(1, len(os.sched_getaffinity(0)) // processes)
