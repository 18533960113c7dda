"""Roles that do nothing or fail, for the crew's tests; they are imported by the processes that are started."""

from __future__ import annotations

import atexit
import os
import time

from speedyzero.edges import WAIT_INPUT
from speedyzero.role_process import WORKING, ProcessSpec, role_process
from speedyzero.shm import Board


class Idle:
    waiting_for = WAIT_INPUT
    weights_version = 0
    waited_inside_ns = 0

    def step(self) -> bool:
        return False


def idle(spec: ProcessSpec, _index: int) -> None:
    with role_process(spec) as process:
        process.loop(Idle())


def begin_slowly(spec: ProcessSpec, start_s: float) -> None:
    """Takes long to start, and has its row for a moment before it first says that it lives, or makes a round."""
    time.sleep(start_s)
    row = Board.attach(spec.wiring.run, spec.wiring.board).row(spec.name)
    time.sleep(0.5)
    row.set_state(WORKING)
    while True:
        time.sleep(0.2)
        row.beat()
        row.add("rounds")


def crash(spec: ProcessSpec, message: str) -> None:
    with role_process(spec):
        raise ArithmeticError(message)


def diverge(spec: ProcessSpec, message: str) -> None:
    """In a process that would abort at the interpreter's end, as gloo's threads have it."""
    atexit.register(os.abort)
    with role_process(spec):
        raise FloatingPointError(message)
