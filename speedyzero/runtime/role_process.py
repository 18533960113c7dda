"""What every role's process has in common: it sets itself up, runs its role in a loop, and says that it lives.

    attach board -> STARTING -> build the role -> WORKING -> step, step, wait, step ... -> role done or stop -> exit 0

A role that cannot move waits on its process's doorbell, at most IDLE_S, and the time is booked under what it waits
for. A thread says that the process lives, the loop counts its rounds: so a process that was stopped, a role that is
stuck and one that waits can be told apart. An exception leaves its traceback in the run directory, for the supervisor
to show, and exits with 1, or with DIVERGED where training came to no finite numbers. A process dies with its
supervisor, and leaves the signals that end a run, which may reach all of a group, to it: it starts with them blocked.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from speedyzero.config import Config
from speedyzero.runtime.shared_edges import MetricSender, SharedBoard, SpanSender
from speedyzero.runtime.wiring import SUPERVISOR, Wiring, bell_of
from speedyzero.shm import Board, BoardRow, Doorbell
from speedyzero.system.current_device import make_current
from speedyzero.system.freed_memory import FreedMemory, keep_large_blocks
from speedyzero.system.prctl import set_title
from speedyzero.topology.edges import WAIT_GROUP
from speedyzero.tracing.kernel_activity import KernelActivity, NvtxRanges
from speedyzero.tracing.process_spans import ProcessSpans
from speedyzero.tracing.spans import Recorder

STARTING, WORKING, DONE = 1, 2, 3
DIVERGED = 3  # exit code of a process whose numbers are no longer finite: no accident, to begin again would not help
PULSE_S = 0.5
# On the CPU, whose cores the roles share. Pacing gives each role its turn in any case, and a run is fastest where the
# learner never waits for a core.
NICE = 5
IDLE_S = 0.005  # pacing stands on the board, which rings no bell: a waiting role looks again after this long


@dataclass(frozen=True)
class ResumePoint:
    """Where a resumed run goes on from. By actor: rows of each of its lanes, and env steps in them."""

    checkpoint: Path
    step: int
    ticks: tuple[int, ...]
    env_steps: tuple[int, ...]


@dataclass(frozen=True)
class ProcessSpec:
    """All that a role's process is told. Picklable."""

    name: str
    config: Config
    wiring: Wiring
    run_dir: Path
    device: str
    threads: int
    resume: ResumePoint | None = None


class Role(Protocol):
    waiting_for: str  # one of edges.WAITS, after a step that made no progress

    @property
    def weights_version(self) -> int:
        """Of the weights that it acts with, or has made; negative before the first."""
        ...

    @property
    def waited_inside_ns(self) -> int:
        """Of its steps so far, the time in which it only waited for the others of its group."""
        ...

    def step(self) -> bool: ...


class RoleProcess:
    """This process as its role sees it."""

    def __init__(self, spec: ProcessSpec, board: Board, row: BoardRow):
        self.spec, self._row = spec, row
        self.stop_requested = board.stop_requested
        self.board, self.run_board = SharedBoard(board, row), board
        self.metrics = MetricSender(spec.wiring.run, spec.wiring.metrics_of(spec.name))
        self._bell = Doorbell.attach(spec.wiring.run, bell_of(spec.name))
        self._spans = _spans_of(spec, board, row)
        self._left_ns = self._left_cpu_ns = 0  # when the loop was left

    def loop(self, role: Role, *, done: Callable[[], bool] = lambda: False) -> None:
        """Step the role until it is done or the supervisor stops the run."""
        row = self._row
        row.set_state(WORKING)
        spans = self._spans
        last_ns, last_cpu_ns = time.monotonic_ns(), time.process_time_ns()
        waited_ns = role.waited_inside_ns
        if self._left_ns:  # work, too, such as a save
            row.add("busy_ns", last_ns - self._left_ns)
            row.add("busy_cpu_ns", last_cpu_ns - self._left_cpu_ns)
        while not self.stop_requested() and not done():
            row.add("rounds")
            if spans is not None:
                spans.follow()
            moved = role.step()
            if not moved:
                self._bell.wait(IDLE_S)
            now_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
            inside_ns, waited_ns = role.waited_inside_ns - waited_ns, role.waited_inside_ns
            row.add(WAIT_GROUP, inside_ns)
            row.add("busy_ns" if moved else role.waiting_for, now_ns - last_ns - inside_ns)
            row.add("busy_cpu_ns" if moved else "wait_cpu_ns", cpu_ns - last_cpu_ns)
            row.set_counter("weights_version", max(0, role.weights_version))
            if spans is not None:
                spans.round("" if moved else role.waiting_for, last_ns, now_ns)
            last_ns, last_cpu_ns = now_ns, cpu_ns
        self._left_ns, self._left_cpu_ns = last_ns, last_cpu_ns

    def close(self) -> None:
        """Send what is left of the spans."""
        if self._spans is not None:
            self._spans.end()

    def report_progress(self, counter: str, step: int) -> None:
        """Say what this process has done for a whole checkpoint, by one of the counters for it."""
        self._row.set_counter(counter, step)

    def finished(self) -> None:
        """Say that this role's work is complete: its exit is no death."""
        self._row.set_state(DONE)


@contextmanager
def role_process(spec: ProcessSpec) -> Iterator[RoleProcess]:
    """Set this process up as a role; on an exception leave the traceback and exit with 1, or DIVERGED."""
    set_title(spec.name)
    keep_large_blocks()
    if spec.device == "cpu" and not spec.name.startswith("learner"):
        os.nice(NICE)
    torch.set_num_threads(spec.threads)
    try:
        board = Board.attach(spec.wiring.run, spec.wiring.board)
        row = board.row(spec.name)
        row.set_state(STARTING)
        threading.Thread(target=_pulse, args=(row,), daemon=True, name="pulse").start()
        make_current(spec.device)
        process = RoleProcess(spec, board, row)
        try:
            yield process
        finally:
            process.close()
    except Exception as error:
        crash_file(spec.run_dir, spec.name).write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(DIVERGED if isinstance(error, FloatingPointError) else 1)


def _spans_of(spec: ProcessSpec, board: Board, row: BoardRow) -> ProcessSpans | None:
    """None where the run is not profiled."""
    ring = spec.wiring.spans_of(spec.name)
    if ring is None:
        return None
    sender, word = SpanSender(spec.wiring.run, ring, row), board.spec.word_of(SUPERVISOR, "profiling")
    wanted, on_gpu = spec.config.profile, spec.device != "cpu"
    path = kernels_file(spec.run_dir, spec.name)
    return ProcessSpans(
        lambda: Recorder(sender, ranges=NvtxRanges() if wanted.nvtx and on_gpu else None),
        wanted=lambda: board.words[word],
        acknowledged=lambda state: row.set_counter("profiling", state),
        activity=KernelActivity(path, device=spec.device) if wanted.kernels and on_gpu else None,
    )


def _pulse(row: BoardRow) -> None:
    """Say again and again that this process lives, whatever its role is at; a stopped process says nothing. In
    passing, give back what it has freed."""
    freed = FreedMemory()
    while True:
        row.beat()
        freed.give_back_if_due()
        time.sleep(PULSE_S)


def crash_file(run_dir: Path, process: str) -> Path:
    """Where a process that dies of an exception leaves its traceback."""
    return run_dir / f"crash.{process}.txt"


def kernels_file(run_dir: Path, process: str) -> Path:
    """Where a process leaves what its GPU did, for the supervisor to put into the trace."""
    return run_dir / f"kernels.{process}.json"
