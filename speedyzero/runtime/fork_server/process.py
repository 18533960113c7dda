"""The fork server's process: imports, then forks on request until the supervisor is gone."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import NoReturn

from speedyzero.runtime.fork_server.messages import Order, ServerEvent
from speedyzero.system.prctl import die_with, set_title


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
    deaths, wakeup = os.pipe()
    os.set_blocking(deaths, False)
    os.set_blocking(wakeup, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup)
    with suppress(EOFError, ConnectionError):  # the supervisor is gone
        connection.send(ServerEvent("ready"))
        while True:
            ready = wait([connection, deaths])
            if deaths in ready:
                os.read(deaths, 4096)
                for message in _ended_children():
                    connection.send(message)
            if connection in ready:
                order = connection.recv_bytes()
                connection.send(_fork(order, [connection.fileno(), deaths, wakeup]))


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


def _ended_children() -> list[ServerEvent]:
    found: list[ServerEvent] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append(ServerEvent("ended", pid, os.waitstatus_to_exitcode(status)))


def _become(order: bytes, server_pid: int, not_ours: Sequence[int]) -> NoReturn:
    """In the child: carry out the order and exit at once.

    The interpreter's shutdown is skipped: library threads may abort in it and change the exit code.
    """
    try:
        die_with(server_pid)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in not_ours:
            os.close(descriptor)
        what: Order = pickle.loads(order)
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
        with suppress(AttributeError, OSError, ValueError):  # closed, missing, or without a reader
            stream.flush()
    os._exit(code)
