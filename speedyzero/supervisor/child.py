"""A role's process as the supervisor sees it, with its signs of life."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from speedyzero.runtime.fork_server import Forked, ForkServer
from speedyzero.runtime.role_process import ProcessSpec, crash_file
from speedyzero.runtime.wiring import LEARNER
from speedyzero.shm import Board


@dataclass
class Unchanged:
    """How long a value has not changed, in seconds in which the supervisor was running."""

    value: object = None
    for_s: float = 0.0

    def look(self, value: object, passed_s: float) -> float:
        """passed_s: since the last call. Returns the seconds without a change."""
        self.for_s = self.for_s + passed_s if value == self.value else 0.0
        self.value = value
        return self.for_s


@dataclass(frozen=True)
class Progress:
    """Counters of the run and of a role at one time."""

    train_steps: int = 0
    busy_ns: int = 0

    @staticmethod
    def of(board: Board, name: str) -> Progress:
        return Progress(board.counter(LEARNER, "train_steps"), board.counter(name, "busy_ns"))


@dataclass
class Child:
    """A role's process, and how its predecessors died."""

    spec: ProcessSpec
    target: Callable[..., None]
    arguments: tuple
    process: Forked | None = None
    restarts: int = 0
    reports: list[str] = field(default_factory=list)  # why each predecessor died
    pulse: Unchanged = field(default_factory=Unchanged)
    rounds: Unchanged = field(default_factory=Unchanged)
    began_at: Progress = Progress()

    def start(self, server: ForkServer, began_at: Progress) -> None:
        """began_at: the counters now; what this process does is the difference to them."""
        self.pulse, self.rounds, self.began_at = Unchanged(), Unchanged(), began_at
        self.process = server.start(self.target, (self.spec, *self.arguments))

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def take_report(self) -> str:
        """Why the process ended: its traceback, or the signal."""
        assert self.process is not None
        path = crash_file(self.spec.run_dir, self.spec.name)
        if path.exists():
            report = path.read_text(encoding="utf-8")
            path.unlink()
            return "of an exception:\n" + report
        if self.process.died_with_server:
            return "with the fork server, which was killed"
        code = self.process.exit_code
        return f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
