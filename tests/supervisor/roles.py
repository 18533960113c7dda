"""Roles that do nothing or fail, for the crew's tests; they are imported by the processes that are started."""

import atexit
import os
import time

from speedyzero.runtime.role_process import WORKING, ProcessSpec, role_process
from speedyzero.shm import Board, BoardRow
from speedyzero.supervisor.crew import COLD_TRAIN_STEPS
from speedyzero.topology.edges import WAIT_INPUT


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


class SlowAtFirst(Idle):
    """A first step that compiles for so long; then, once the first train steps are over, one that hangs."""

    def __init__(self, row: BoardRow, compile_s: float):
        self._row, self._compile_s, self._steps = row, compile_s, 0

    def step(self) -> bool:
        time.sleep(self._compile_s if self._steps == 0 else 300.0 if self._steps == COLD_TRAIN_STEPS else 0.01)
        self._steps += 1
        self._row.add("train_steps")
        return True


def compile_at_first(spec: ProcessSpec, compile_s: float) -> None:
    with role_process(spec) as process:
        row = process.run_board.row(spec.name)
        process.loop(SlowAtFirst(row, compile_s))


class WaitsForOthers(Idle):
    """A first step that never ends."""

    def step(self) -> bool:
        time.sleep(300.0)
        return True


def wait_for_others(spec: ProcessSpec, _index: int) -> None:
    """A learner while other nodes are late."""
    with role_process(spec) as process:
        process.report_progress("awaits_group", 1)
        process.loop(WaitsForOthers())


def crash(spec: ProcessSpec, message: str) -> None:
    with role_process(spec):
        raise ArithmeticError(message)


def diverge(spec: ProcessSpec, message: str) -> None:
    """In a process that would abort at the interpreter's end, as gloo's threads have it."""
    atexit.register(os.abort)
    with role_process(spec):
        raise FloatingPointError(message)
