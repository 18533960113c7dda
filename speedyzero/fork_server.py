"""A process that has imported what others need, and is forked into each of them.

    supervisor --what to do--> fork server --fork--> a role, its successor, an evaluator ...
               <--who began, who ended and how--

To import torch, numba and torch's optimisers takes some five seconds of a core. Of processes that are spawned each pays
them, the successor of one that died, too, before it can take its place; forked from a server, none does, and what was
imported lies in memory once. The supervisor could not be forked itself, for it has threads and may have used a GPU; the
server does nothing but this. It dies with the supervisor's thread that made it, and whoever it was forked into dies
with it.

Ctrl-C, SIGTERM and SIGHUP, which may reach all of a group, are blocked in all of them: the supervisor decides.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Literal, NoReturn

from speedyzero.prctl import die_with, set_title

ANSWER_S = 300.0  # until everything is imported, on a starved machine too; until a process is begun
KILLED_S = 10.0  # until the server has told of the end of one that was killed
_LOOK_S = 0.2
_BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class NotStarted(RuntimeError):
    """No process could be had; the message says why."""


@dataclass(frozen=True)
class _Order:
    target: Callable[..., None]
    arguments: tuple


@dataclass(frozen=True)
class _Told:
    """By the server: that it is ready, that a process began or ended, why it could begin none."""

    what: Literal["ready", "began", "ended", "failed"]
    pid: int = 0
    exit_code: int = 0
    why: str = ""


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
            self._connection.send_bytes(pickle.dumps(_Order(target, arguments)))
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
        source = f"import sys; sys.path[:] = {sys.path!r}; from speedyzero.fork_server import serve; {call}"
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            self._server = subprocess.Popen(
                [sys.executable, "-c", source], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self._end = weakref.finalize(self, _end, self._server, self._connection)

    def _hear(self, told: _Told) -> None:
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
    left, deadline_s = list(pids), time.monotonic() + KILLED_S
    while left and time.monotonic() < deadline_s:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{left[-1]}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                time.sleep(0.005)
                continue
        left.pop()


def serve(descriptor: int, parent_pid: int, preload: Sequence[str]) -> None:
    """Be the server: import, then fork as ordered, until the supervisor is gone. descriptor: its end of the pipe."""
    die_with(parent_pid)
    set_title("fork-server")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # torch looks for GPUs without making a CUDA context
    for name in preload:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each process would write to all that they share
    connection = Connection(descriptor)
    deaths, wakeup = os.pipe()
    os.set_blocking(deaths, False)
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    with suppress(EOFError, ConnectionError):  # the supervisor is gone
        connection.send(_Told("ready"))
        while True:
            ready = wait([connection, deaths])
            if deaths in ready:
                os.read(deaths, 4096)
                for told in _who_ended():
                    connection.send(told)
            if connection in ready:
                order = connection.recv_bytes()
                connection.send(_fork(order, [connection.fileno(), deaths, wakeup]))


def _fork(order: bytes, ours: Sequence[int]) -> _Told:
    """Begin a process. ours: descriptors that are the server's alone."""
    server_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return _Told("failed", why=f"fork: {error}")
    if pid == 0:
        _become(order, server_pid, ours)
    return _Told("began", pid)


def _who_ended() -> list[_Told]:
    found: list[_Told] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append(_Told("ended", pid, os.waitstatus_to_exitcode(status)))


def _become(order: bytes, server_pid: int, not_ours: Sequence[int]) -> NoReturn:
    """In the new process: carry out the order and exit at once.

    Not through the interpreter's end, in which threads of libraries may abort, and the exit code would be theirs.
    """
    try:
        die_with(server_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in not_ours:
            os.close(descriptor)
        what: _Order = pickle.loads(order)
        what.target(*what.arguments)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        _exit(1 if isinstance(stop.code, str) else int(stop.code or 0))
    except BaseException:
        traceback.print_exc()
        _exit(1)
    _exit(0)


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or none, or nobody reads it
            stream.flush()
    os._exit(code)
