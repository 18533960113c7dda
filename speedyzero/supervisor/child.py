"""One role's process as its supervisor sees it: started with signals blocked, its signs of life watched."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

from speedyzero.parent_death import DiesWithParent, begin
from speedyzero.role_process import ProcessSpec, crash_file


def start_shielded(target: Callable[..., None], arguments: tuple, *, name: str) -> BaseProcess:
    """Start a process with Ctrl-C, SIGTERM and SIGHUP blocked: they may reach all of a group; the supervisor decides.

    It dies with this thread, before it has imported anything of `target`'s module too.
    """
    resource_tracker.ensure_running()  # its start would unblock the signals again
    guarded = DiesWithParent(os.getpid()), target, arguments
    process = multiprocessing.get_context("spawn").Process(target=begin, args=guarded, name=name)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


@dataclass
class Unchanged:
    """For how long something has stayed as it is, in seconds in which the supervisor itself was running."""

    value: object = None
    for_s: float = 0.0

    def look(self, value: object, passed_s: float) -> float:
        """passed_s: since the last look."""
        self.for_s = self.for_s + passed_s if value == self.value else 0.0
        self.value = value
        return self.for_s


@dataclass
class Child:
    """One role's process, and what is known of its predecessors."""

    spec: ProcessSpec
    target: Callable[..., None]
    arguments: tuple
    process: BaseProcess | None = None
    restarts: int = 0
    reports: list[str] = field(default_factory=list)  # why each predecessor died
    pulse: Unchanged = field(default_factory=Unchanged)
    rounds: Unchanged = field(default_factory=Unchanged)

    def start(self) -> None:
        self.pulse, self.rounds = Unchanged(), Unchanged()
        self.process = start_shielded(self.target, (self.spec, *self.arguments), name=f"speedyzero-{self.spec.name}")

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()

    def take_report(self) -> str:
        """Why the process ended: its traceback, or the signal."""
        assert self.process is not None
        path = crash_file(self.spec.run_dir, self.spec.name)
        if path.exists():
            report = path.read_text()
            path.unlink()
            return "of an exception:\n" + report
        code = self.process.exitcode
        return f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
