"""The fork server's process: imports, then forks on request until the supervisor is gone."""

import gc
import importlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Literal, NoReturn

from speedyzero.system.prctl import die_with, set_title


@dataclass(frozen=True)
class Order:
    """From the supervisor: call a function in a new process."""

    target: Callable[..., None]
    arguments: tuple


@dataclass(frozen=True)
class ServerEvent:
    """To the supervisor: the server is ready, a process has begun or ended, or why none could begin."""

    what: Literal["ready", "began", "ended", "failed"]
    pid: int = 0
    exit_code: int = 0
    why: str = ""


def serve(descriptor: int, parent_pid: int, preload: Sequence[str]) -> None:
    """Run the server. descriptor: its end of the pipe to the supervisor; preload: names of modules."""
    die_with(parent_pid)
    set_title("fork-server")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # torch finds GPUs without a CUDA context
    for name in preload:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else the first collection in each child would write to every shared page
    connection = Connection(descriptor)
    deaths, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    with suppress(EOFError, ConnectionError):  # the supervisor is gone
        connection.send(ServerEvent("ready"))
        while True:
            ready = wait([connection, deaths])
            if deaths in ready:
                os.read(deaths, 4096)
                for event in _ended_children():
                    connection.send(event)
            if connection in ready:
                connection.send(_fork(connection.recv_bytes(), [connection.fileno(), deaths, wakeup]))


def _fork(order: bytes, ours: Sequence[int]) -> ServerEvent:
    """Fork a child. ours: descriptors that belong to the server alone."""
    server_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return ServerEvent("failed", why=f"fork: {error}")
    if pid == 0:
        _become(order, server_pid, ours)
    return ServerEvent("began", pid)


def _ended_children() -> Iterator[ServerEvent]:
    with suppress(ChildProcessError):  # none is left
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            yield ServerEvent("ended", ended[0], os.waitstatus_to_exitcode(ended[1]))


def _become(order: bytes, server_pid: int, not_ours: Sequence[int]) -> NoReturn:
    """In the child: carry out the order and exit at once.

    The interpreter's shutdown is skipped: library threads may abort in it and change the exit code.
    """
    code = 1
    try:
        die_with(server_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in not_ours:
            os.close(descriptor)
        what: Order = pickle.loads(order)
        what.target(*what.arguments)
        code = 0
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        else:
            code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, missing, or without a reader
            stream.flush()
    os._exit(code)
