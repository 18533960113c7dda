"""The role processes of one run: start them, look after them, end them.

Who dies, and what follows: an actor or the reanalyzer is replaced (its successor takes over rings and shard as they
stand); a learner's death ends the run with its traceback; the supervisor's death takes everybody along. One that shows
no sign of life, in its start or at work, is killed and counts as dead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from speedyzero.actor import process as actor_process
from speedyzero.config import Config
from speedyzero.learner import process as learner_process
from speedyzero.reanalyze import process as reanalyze_process
from speedyzero.role_process import DONE, WORKING, ProcessSpec, crash_file
from speedyzero.shm import Board
from speedyzero.wiring import LEARNER, REANALYZER, SUPERVISOR, Wiring

START_DEADLINE_S = 120.0  # imports and numba's first compilation on a slow machine
STOP_DEADLINE_S = 10.0
MAX_RESTARTS = 5  # of one process in a run
HURRY, AT_ONCE = 2, 3  # interruptions: nobody but the learner is waited for; not even the learner
_LONGEST_LOOK_S = 1.0  # between two looks; what is beyond it, the supervisor itself was stopped (Ctrl-Z) or starved
_TICK_S = 0.02


class RunFailed(RuntimeError):
    """A run that cannot go on; the message names the process and carries its traceback."""


def start_shielded(target: Callable[..., None], arguments: tuple, *, name: str) -> BaseProcess:
    """Start a process with Ctrl-C and SIGTERM blocked: they may reach the whole group, and the supervisor decides."""
    resource_tracker.ensure_running()  # its start would unblock the signals again
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, name=name)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


@dataclass
class Child:
    """One role's process, and what is known of its predecessors."""

    spec: ProcessSpec
    target: Callable[..., None]
    arguments: tuple
    process: BaseProcess | None = None
    restarts: int = 0
    reports: list[str] = field(default_factory=list)  # why each predecessor died
    silent_s: float = 0.0  # since the last sign of life
    last_beat: object = None

    def start(self) -> None:
        self.silent_s = 0.0
        self.process = start_shielded(self.target, (self.spec, *self.arguments), name=f"speedyzero-{self.spec.name}")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()


class Crew:
    """The role processes of one run."""

    def __init__(self, config: Config, wiring: Wiring, run_dir: Path, board: Board, *, note: Callable[[str], None]):
        self._board, self._run_dir, self._note = board, run_dir, note
        self._hang_s = config.supervisor.hang_s
        self._row = board.row(SUPERVISOR)
        self._looked_s = time.monotonic()
        threads = threads_per_process(config, len(wiring.processes))

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
        while waited_for := [child.spec.name for child in self.children if not self.works(child)]:
            if interrupted():
                return
            if time.monotonic() > deadline_s:
                raise RunFailed(f"still starting after {START_DEADLINE_S:.0f} s: {', '.join(waited_for)}")
            self.look_after()
            time.sleep(_TICK_S)

    @property
    def learner_done(self) -> bool:
        return self._board.state(LEARNER) == DONE

    def look_after(self) -> None:
        """Look at everybody once, and replace the dead. Raises RunFailed for a learner's death or a death too many."""
        now_s = time.monotonic()
        passed_s, self._looked_s = min(now_s - self._looked_s, _LONGEST_LOOK_S), now_s
        for child in self.children:
            if self._board.state(child.spec.name) == DONE:
                continue
            self._kill_if_silent(child, passed_s)
            if not child.alive:
                self._replace(child)

    def stop(self, *, interruptions: Callable[[], int]) -> None:
        """Ask everybody to end, wait, and kill whoever is left; at once whoever has not begun to work."""
        self._row.request_stop()
        for child in self.children:
            if child.alive and not self.works(child):
                child.kill()
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        while any(child.alive for child in self.children) and time.monotonic() < deadline_s:
            if interruptions() >= AT_ONCE:
                break
            if interruptions() >= HURRY:
                for child in self.children:
                    if child.alive and child.spec.name != LEARNER:
                        child.kill()
            time.sleep(_TICK_S)
        for child in self.children:
            if child.alive:
                self._note(f"{child.spec.name} did not end and is killed")
                child.kill()
            if child.process is not None:
                child.process.join()
            if crash_file(self._run_dir, child.spec.name).exists():  # such as: the weights could not be saved
                self._note(f"{child.spec.name} died while it ended, {self._report_of(child)}")

    def works(self, child: Child) -> bool:
        """Whether this very process, not the one before it, has said that it works, or has done all its work."""
        holder, state = self._board.process(child.spec.name), self._board.state(child.spec.name)
        ours = child.process is not None and holder is not None and holder.pid == child.process.pid
        return ours and state in (WORKING, DONE)

    def _replace(self, child: Child) -> None:
        name, report = child.spec.name, self._report_of(child)
        child.reports.append(report)
        if name == LEARNER or child.restarts >= MAX_RESTARTS:
            times = f" {len(child.reports)} times, at first" if child.restarts else ""
            raise RunFailed(f"{name} died{times} {child.reports[0]}")
        child.restarts += 1
        self._row.add("restarts")
        self._note(f"{name} died and is replaced ({child.restarts} of {MAX_RESTARTS}), {report}")
        child.start()

    def _kill_if_silent(self, child: Child, passed_s: float) -> None:
        """passed_s: since the last look, the supervisor's own absence left out."""
        name = child.spec.name
        beat = self._board.heartbeat_ns(name)
        child.silent_s = 0.0 if beat != child.last_beat else child.silent_s + passed_s
        child.last_beat = beat
        allowed_s = self._hang_s if self.works(child) else START_DEADLINE_S
        if child.alive and child.silent_s > allowed_s:
            self._note(f"{name} has shown no sign of life for {child.silent_s:.0f} s and is killed")
            child.kill()

    def _report_of(self, child: Child) -> str:
        """Why a process ended: its traceback, or the signal."""
        assert child.process is not None
        path = crash_file(self._run_dir, child.spec.name)
        if path.exists():
            report = path.read_text()
            path.unlink()
            return "of an exception:\n" + report
        code = child.process.exitcode
        return f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"


def threads_per_process(config: Config, processes: int) -> int:
    """Tensor threads of each role: `cpu_threads`, or so many that together they do not oversubscribe the cores."""
    if config.cpu_threads:
        return config.cpu_threads
    return max(1, len(os.sched_getaffinity(0)) // processes)
