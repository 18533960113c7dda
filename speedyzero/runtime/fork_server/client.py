"""The fork server and its children, as the supervisor sees them."""

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

from speedyzero.runtime.fork_server.process import Order, ServerEvent
from speedyzero.system.stop_signals import STOP_SIGNALS

ANSWER_S = 300.0  # for the imports, on a starved machine too; for starting a process
KILLED_S = 10.0  # for the server to report the end of a killed child
_POLL_S = 0.2


class NotStarted(RuntimeError):
    """No process could be started; the message gives the reason."""


@dataclass
class Forked:
    """A child of the fork server."""

    pid: int
    _server: ForkServer = field(repr=False)
    _exit_code: int | None = None
    died_with_server: bool = False

    @property
    def exit_code(self) -> int | None:
        """None while it is alive; negative for a signal."""
        self._server.listen()
        return self._exit_code

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def kill(self) -> None:
        """Kill it and wait until it is dead."""
        if self.alive:
            with suppress(ProcessLookupError):  # it has just ended, not yet reported
                os.kill(self.pid, signal.SIGKILL)
        deadline_s = time.monotonic() + KILLED_S
        while self.alive:
            if time.monotonic() > deadline_s:
                self._server.close()  # the server is stopped and cannot report
            self._server.listen(wait_s=_POLL_S)

    def join(self) -> None:
        while self.alive:
            self._server.listen(wait_s=None)


class ForkServer:
    """The server as the supervisor sees it. It starts importing at once.

    preload: names of modules. Made and used by one thread. Ends with that thread, with this object, or when closed.
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
        """Wait until the server has imported everything; False if interrupted.

        A server that has died is replaced first. Raises NotStarted if it dies meanwhile.
        """
        self.listen()
        if self._is_gone:
            self._begin()
        deadline_s = time.monotonic() + ANSWER_S
        while not self._is_ready and not interrupted():
            self._wait_for_message(deadline_s)
        return self._is_ready

    def start(self, target: Callable[..., None], arguments: tuple) -> Forked:
        """Call a function of some module in a new process, at once if the server is ready.

        Raises NotStarted, and ValueError for a function of `__main__`.
        """
        if target.__module__ == "__main__":
            raise ValueError(
                f"{target.__qualname__} of __main__: the fork server has a different __main__, put it into a module"
            )
        self.ready()
        self._answer, deadline_s = None, time.monotonic() + ANSWER_S
        with suppress(ConnectionError):  # it has died, which `listen` detects
            self._connection.send_bytes(pickle.dumps(Order(target, arguments)))
        while self._answer is None:
            self._wait_for_message(deadline_s)
        if isinstance(self._answer, str):
            raise NotStarted(self._answer)
        return self._answer

    def listen(self, wait_s: float | None = 0.0) -> None:
        """Handle the server's messages so far; without any, wait for one, at most `wait_s`. None: for ever."""
        try:
            while not self._is_gone and self._connection.poll(wait_s):
                self._handle(self._connection.recv())
                wait_s = 0.0
        except (EOFError, ConnectionError):
            self.close()

    def close(self) -> None:
        """End the server and its remaining children."""
        self._is_gone = True
        self._end()
        for one in self._living.values():
            one._exit_code, one.died_with_server = -signal.SIGKILL, True
        _wait_until_gone(self._living)
        self._living.clear()

    def _wait_for_message(self, deadline_s: float) -> None:
        if self._is_gone:
            raise NotStarted(f"the fork server ended with exit code {self._server.returncode}")
        if time.monotonic() > deadline_s:
            raise NotStarted(f"the fork server has not answered in {ANSWER_S:g} s")
        self.listen(wait_s=_POLL_S)

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

    def _handle(self, event: ServerEvent) -> None:
        if event.what == "ready":
            self._is_ready = True
        elif event.what == "began":
            self._answer = self._living[event.pid] = Forked(event.pid, self)
        elif event.what == "ended":
            self._living.pop(event.pid)._exit_code = event.exit_code
        else:
            self._answer = event.why


def _end(server: subprocess.Popen, connection: Connection) -> None:
    server.kill()
    server.wait()
    connection.close()


def _wait_until_gone(pids: Iterable[int]) -> None:
    """Wait until their resources are free. Zombies, left for a new parent to reap, hold none."""
    from speedyzero.shm.liveness import process_of  # imports numpy, which checking a command line avoids

    deadline_s = time.monotonic() + KILLED_S
    while any(process_of(pid) for pid in pids) and time.monotonic() < deadline_s:
        time.sleep(0.005)
