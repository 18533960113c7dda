"""The fork server, and the processes that it becomes, as the supervisor sees them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe

from speedyzero.runtime.fork_server.messages import Order, Told
from speedyzero.system.stop_signals import STOP_SIGNALS

ANSWER_S = 300.0  # until everything is imported, on a starved machine too; until a process is begun
KILLED_S = 10.0  # until the server has told of the end of one that was killed
_LOOK_S = 0.2


class NotStarted(RuntimeError):
    """No process could be had; the message says why."""


@dataclass
class Forked:
    """A process that a fork server became, as the one who asked for it sees it."""

    pid: int
    _server: ForkServer = field(repr=False)
    _exit_code: int | None = None
    fell_with_server: bool = False
    """It died because the server did, of whatever."""

    @property
    def exit_code(self) -> int | None:
        """Negative: of a signal. None: it lives."""
        self._server.listen()
        return self._exit_code

    def ended(self, exit_code: int, *, with_server: bool = False) -> None:
        """Heard from the server."""
        self._exit_code, self.fell_with_server = exit_code, with_server

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def kill(self) -> None:
        """Returns when it is dead."""
        if self.alive:
            with suppress(ProcessLookupError):  # it has just ended, the server not told of it yet
                os.kill(self.pid, signal.SIGKILL)
        deadline_s = time.monotonic() + KILLED_S
        while self.alive:
            if time.monotonic() > deadline_s:
                self._server.close()  # it was stopped, and would never tell
            self._server.listen(wait_s=_LOOK_S)

    def join(self) -> None:
        while self.alive:
            self._server.listen(wait_s=None)


class ForkServer:
    """The server as the supervisor sees it. It begins to import at once.

    preload: names of modules. Made and used by one thread, with which it ends; with this object, too, or once closed.
    """

    def __init__(self, preload: Sequence[str]):
        self._preload = tuple(preload)
        self._living: dict[int, Forked] = {}
        self._answer: Forked | str | None = None
        self._begin()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._server.pid

    def ready(self, *, interrupted: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the server has imported everything; False where that was interrupted.

        Where it has died since it was, another takes its place. Raises NotStarted where it dies meanwhile.
        """
        self.listen()
        if self._is_gone:
            self._begin()
        deadline_s = time.monotonic() + ANSWER_S
        while not self._is_ready and not interrupted():
            self._wait_for_word(deadline_s)
        return self._is_ready

    def start(self, target: Callable[..., None], arguments: tuple) -> Forked:
        """Have a new process call a function of some module, at once if the server is ready.

        Raises NotStarted, and ValueError for a function of `__main__`.
        """
        if target.__module__ == "__main__":
            raise ValueError(f"{target.__qualname__} of __main__: the fork server has another, put it into a module")
        self.ready()
        self._answer, deadline_s = None, time.monotonic() + ANSWER_S
        with suppress(ConnectionError):  # it has died: listening tells
            self._connection.send_bytes(pickle.dumps(Order(target, arguments)))
        while self._answer is None:
            self._wait_for_word(deadline_s)
        if isinstance(self._answer, str):
            raise NotStarted(self._answer)
        return self._answer

    def listen(self, wait_s: float | None = 0.0) -> None:
        """Take in what the server has told so far; if that is nothing, wait for it, at most so long. None: for ever."""
        try:
            while not self._is_gone and self._connection.poll(wait_s):
                self._hear(self._connection.recv())
                wait_s = 0.0
        except (EOFError, ConnectionError):
            self.close()

    def close(self) -> None:
        """End the server, and with it whoever of its processes is left."""
        self._is_gone = True
        self._end()
        for one in self._living.values():
            one.ended(-signal.SIGKILL, with_server=True)
        _wait_until_gone(self._living)
        self._living.clear()

    def _wait_for_word(self, deadline_s: float) -> None:
        if self._is_gone:
            raise NotStarted(f"the fork server ended with exit code {self._server.returncode}")
        if time.monotonic() > deadline_s:
            raise NotStarted(f"the fork server has not answered in {ANSWER_S:g} s")
        self.listen(wait_s=_LOOK_S)

    def _begin(self) -> None:
        self._is_gone = self._is_ready = False
        self._connection, theirs = Pipe()
        call = f"serve({theirs.fileno()}, {os.getpid()}, {self._preload!r})"
        imported = "from speedyzero.runtime.fork_server.process import serve"
        source = f"import sys; sys.path[:] = {sys.path!r}; {imported}; {call}"
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self._server = subprocess.Popen(
                [sys.executable, "-c", source], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._end = weakref.finalize(self, _end, self._server, self._connection)

    def _hear(self, told: Told) -> None:
        if told.what == "ready":
            self._is_ready = True
        elif told.what == "began":
            self._answer = self._living[told.pid] = Forked(told.pid, self)
        elif told.what == "ended":
            self._living.pop(told.pid).ended(told.exit_code)
        else:
            self._answer = told.why


def _end(server: subprocess.Popen, connection: Connection) -> None:
    server.kill()
    server.wait()
    connection.close()


def _wait_until_gone(pids: Iterable[int]) -> None:
    """What they held is free only then. Whoever is left for its new parent to bury holds nothing."""
    from speedyzero.shm.liveness import process_of  # brings numpy, which the command line is checked without

    deadline_s = time.monotonic() + KILLED_S
    while any(process_of(pid) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(0.005)
