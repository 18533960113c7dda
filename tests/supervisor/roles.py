"""Roles that do nothing or fail, for the crew's tests; they are imported by the processes that are started."""

from __future__ import annotations

from speedyzero.edges import WAIT_INPUT
from speedyzero.role_process import ProcessSpec, role_process


class Idle:
    waiting_for = WAIT_INPUT
    weights_version = 0
    waited_inside_ns = 0

    def step(self) -> bool:
        return False


def idle(spec: ProcessSpec, _index: int) -> None:
    with role_process(spec) as process:
        process.loop(Idle())


def crash(spec: ProcessSpec, message: str) -> None:
    with role_process(spec):
        raise ArithmeticError(message)
