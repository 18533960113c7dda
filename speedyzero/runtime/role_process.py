"""What every role's process has in common: set-up, the role's loop, heartbeat and exit.

    attach board -> STARTING -> build the role -> WORKING -> step, step, wait, step ... -> role done or stop -> exit 0

A role that makes no progress waits on its process's doorbell, at most IDLE_S; the time is booked under what it waits
for. A thread writes heartbeats and the loop counts its rounds, which tells stopped processes, stuck roles and waiting
roles apart. On an exception the process writes its traceback to the run directory, for the supervisor to show, and
exits with 1, or with DIVERGED if the loss became non-finite. It dies with its supervisor. It starts with the stop
signals blocked: they may reach a whole process group, and the supervisor handles them.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from speedyzero.config import Config
from speedyzero.nodes.launch import ALONE, Launch
from speedyzero.replay.shard import Shard
from speedyzero.runtime.shared_edges import MetricSender, SharedBoard, SpanSender, shared_ends
from speedyzero.runtime.wiring import SUPERVISOR, Wiring, bell_of
from speedyzero.shm import Board, BoardRow, Doorbell, SharedArrays
from speedyzero.system.current_device import make_current
from speedyzero.system.freed_memory import FreedMemory, keep_large_blocks
from speedyzero.system.prctl import set_title
from speedyzero.topology.edges import METRICS, SPANS, WAIT_GROUP, Ends
from speedyzero.topology.records import WeightsRecord
from speedyzero.tracing.process_spans import ProcessSpans
from speedyzero.tracing.spans import Recorder

STARTING, WORKING, DONE = 1, 2, 3
DIVERGED = 3  # exit code after a non-finite loss: a restart would not help
PULSE_S = 0.5
# Of actors and reanalyzers on the CPU: pacing limits them anyway, and the learner should never wait for a core.
NICE = 5
IDLE_S = 0.005  # the board's counters, which pace a run, send no notification: waiting roles poll them


@dataclass(frozen=True)
class ResumePoint:
    """Where a resumed run continues. By actor: rows of each of its lanes, and env steps in them. By shard: draws."""

    checkpoint: Path
    step: int
    ticks: tuple[int, ...]
    env_steps: tuple[int, ...]
    draws: tuple[int, ...]


@dataclass(frozen=True)
class ProcessSpec:
    """Everything that a role's process receives. Picklable."""

    name: str
    config: Config
    wiring: Wiring
    run_dir: Path
    device: str
    threads: int
    resume: ResumePoint | None = None
    launch: Launch = ALONE

    @property
    def shared_dir(self) -> Path:
        """Where all nodes write checkpoints; `run_dir` is this node's own."""
        return self.launch.share.shared_dir(self.run_dir)


class Role(Protocol):
    waiting_for: str  # one of edges.WAITS, after a step that made no progress

    @property
    def weights_version(self) -> int:
        """Version of the weights that it acts with, or has made; negative before the first."""
        ...

    @property
    def waited_inside_ns(self) -> int:
        """Time within its steps so far spent waiting for the others of its group."""
        ...

    def step(self) -> bool: ...


class RoleProcess:
    """This process as its role sees it."""

    def __init__(self, spec: ProcessSpec, board: Board, row: BoardRow):
        self.spec, self._row = spec, row
        self.stop_requested = board.stop_requested
        self.board, self.run_board = SharedBoard(board, row), board
        (metrics,) = spec.wiring.produced_by(spec.name, METRICS.name)
        self.metrics = MetricSender(spec.wiring.run, metrics)
        self._bell = Doorbell.attach(spec.wiring.run, bell_of(spec.name))
        self._spans = _spans_of(spec, board, row)
        self._left_ns = self._left_cpu_ns = 0  # when the last loop ended

    def ends(self, kind: type[Ends], *, before: Iterable[WeightsRecord] = ()) -> Ends:
        """This process's ends of the run's edges. before: targets published before the run was resumed."""
        spec = self.spec
        return shared_ends(kind, spec.wiring, spec.name, metrics=self.metrics, board=self.board, before=before)

    def shard(self, index: int, *, writable: bool = False) -> Shard:
        wiring = self.spec.wiring
        arrays = SharedArrays.attach(wiring.run, wiring.shards[index], writable=writable)
        return Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})

    def loop(self, role: Role, *, done: Callable[[], bool] = lambda: False) -> None:
        """Step the role until it is done or the supervisor stops the run."""
        row = self._row
        row.set_state(WORKING)
        spans = self._spans
        last_ns, last_cpu_ns = time.monotonic_ns(), time.process_time_ns()
        waited_ns = role.waited_inside_ns
        if self._left_ns:  # the time between loops is work, too, such as a save
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
        """Send the remaining spans."""
        if self._spans is not None:
            self._spans.end()

    def report_progress(self, counter: str, step: int) -> None:
        """Publish the step that this process has reached in a counter of the checkpoint protocol."""
        self._row.set_counter(counter, step)

    def finished(self) -> None:
        """Report that this role's work is complete, so that its exit does not count as a death."""
        self._row.set_state(DONE)


@contextmanager
def role_process(spec: ProcessSpec) -> Iterator[RoleProcess]:
    """Set this process up as a role; on an exception write the traceback and exit with 1, or DIVERGED."""
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
    """None if the run is not profiled."""
    rings = spec.wiring.produced_by(spec.name, SPANS.name)
    if not rings:
        return None
    sender, word = SpanSender(spec.wiring.run, rings[0], row), board.spec.word_of(SUPERVISOR, "profiling")
    asked, on_gpu = spec.config.profile, spec.device != "cpu"
    return ProcessSpans(
        lambda: Recorder(sender, nvtx=torch.cuda.nvtx if asked.nvtx and on_gpu else None),
        wanted=lambda: board.words[word],
        acknowledged=lambda state: row.set_counter("profiling", state),
        activity=gpu_activity(spec.run_dir, spec.name) if asked.kernels and on_gpu else None,
    )


def gpu_activity(run_dir: Path, process: str) -> torch.profiler.profile:
    """Torch's profiler, which writes kernels.PROCESS.json.gz when it stops."""
    path = str(run_dir / f"kernels.{process}.json.gz")
    return torch.profiler.profile(on_trace_ready=lambda profiler: profiler.export_chrome_trace(path))


def _pulse(row: BoardRow) -> None:
    """Write heartbeats, whatever the role is doing, and return freed memory to the system."""
    freed = FreedMemory()
    while True:
        row.beat()
        freed.give_back_if_due()
        time.sleep(PULSE_S)


def crash_file(run_dir: Path, process: str) -> Path:
    """Where a process writes the traceback of the exception that ended it."""
    return run_dir / f"crash.{process}.txt"
