"""A process that has imported what others need, and is forked into each of them.

    supervisor --what to do--> fork server --fork--> a role, its successor, an evaluator ...
               <--who began, who ended and how--

To import torch and numba takes three seconds of a core. Of processes that are spawned each pays them, the successor of
one that died, too, before it can take its place; forked from a server, none does, and what was imported lies in memory
once. The supervisor could not be forked itself, for it has threads and may have used a GPU; the server has and does
nothing but this. It dies with the supervisor's thread that made it, and whoever it was forked into dies with it.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import NoReturn

from speedyzero.prctl import die_with, set_title

ANSWER_S = 300.0  # for the first process: until everything is imported, on a starved machine too
_BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@dataclass(frozen=True)
class _Order:
    target: Callable[..., None]
    arguments: tuple


@dataclass(frozen=True)
class _Told:
    """By the server: of a process that began, or, with an exit code, of one that ended."""

    pid: int
    exit_code: int | None = None


@dataclass
class Forked:
    """A process that a fork server became, as the one who asked for it sees it."""

    pid: int
    _listen: Callable[..., None] = field(repr=False)
    _exit_code: int | None = None
    fell_with_server: bool = False
    """It died because the server did, by whatever."""

    @property
    def exit_code(self) -> int | None:
        """Negative: of a signal. None: it lives."""
        self._listen()
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
            os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> None:
        while self.alive:
            self._listen(wait_s=None)


class ForkServer:
    """The server as the supervisor sees it. It begins to import at once.

    preload: names of modules. Made and used by one thread, with which it ends; with this object, too, or once closed.
    """

    def __init__(self, preload: Sequence[str]):
        self._preload = tuple(preload)
        self._living: dict[int, Forked] = {}
        self._newest: Forked | None = None
        self._begin()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._server.pid

    def start(self, target: Callable[..., None], arguments: tuple) -> Forked:
        """Have a new process call a function of some module.

        The first waits for the server's imports. Where the server has died since, another takes its place; raises
        RuntimeError where it dies, or does not answer, meanwhile; ValueError for a function of `__main__`.
        """
        if target.__module__ == "__main__":
            raise ValueError(f"{target.__qualname__} of __main__: the fork server has another, put it into a module")
        self.listen()
        if self._is_gone:
            self._begin()
        self._newest, deadline_s = None, time.monotonic() + ANSWER_S
        with suppress(BrokenPipeError):  # it has died: listening tells
            self._connection.send_bytes(pickle.dumps(_Order(target, arguments)))
        while self._newest is None:
            if self._is_gone:
                raise RuntimeError(f"the fork server ended with exit code {self._server.returncode}")
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"the fork server has started no process in {ANSWER_S:g} s")
            self.listen(wait_s=1.0)
        return self._newest

    def listen(self, wait_s: float | None = 0.0) -> None:
        """Take in what the server has told so far; if that is nothing, wait for it, at most so long. None: for ever."""
        try:
            while not self._is_gone and self._connection.poll(wait_s):
                self._hear(self._connection.recv())
                wait_s = 0.0
        except (EOFError, ConnectionResetError):
            self.close()

    def close(self) -> None:
        """End the server, and with it whoever of its processes is left."""
        self._is_gone = True
        self._end()
        for one in self._living.values():
            one.ended(-signal.SIGKILL, with_server=True)
        self._living.clear()

    def _begin(self) -> None:
        self._is_gone = False
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
        if told.exit_code is None:
            self._newest = self._living[told.pid] = Forked(told.pid, self.listen)
        else:
            self._living.pop(told.pid).ended(told.exit_code)


def _end(server: subprocess.Popen, connection: Connection) -> None:
    server.kill()
    server.wait()
    connection.close()


def serve(descriptor: int, parent_pid: int, preload: Sequence[str]) -> None:
    """Be the server: import, then fork as ordered, until the supervisor is gone. descriptor: its end of the pipe."""
    die_with(parent_pid)
    set_title("fork-server")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # torch looks for GPUs without making a CUDA context
    for name in preload:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or the first collection in each process would write to all that they share
    connection, pid = Connection(descriptor), os.getpid()
    deaths, wakeup = os.pipe()
    os.set_blocking(deaths, False)
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    while True:
        ready = wait([connection, deaths])
        if deaths in ready:
            os.read(deaths, 4096)
            for told in _who_ended():
                connection.send(told)
        if connection in ready:
            try:
                order = connection.recv_bytes()
            except EOFError:
                return
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                connection.close()
                os.close(deaths)
                os.close(wakeup)
                _become(order, pid)
            connection.send(_Told(child))


def _who_ended() -> list[_Told]:
    found: list[_Told] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append(_Told(pid, os.waitstatus_to_exitcode(status)))


def _become(order: bytes, server_pid: int) -> NoReturn:
    """In the new process: carry out the order and exit at once.

    Not through the interpreter's end, in which threads of libraries may abort, and the exit code would be theirs.
    """
    exit_code = 1
    try:
        die_with(server_pid)
        what: _Order = pickle.loads(order)
        what.target(*what.arguments)
        exit_code = 0
    except SystemExit as stop:
        exit_code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
