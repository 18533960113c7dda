"""What a profile reads of a run's processes: their spans, and counters when it begins and ends.

A restarted run has new shared memory with counters at 0, so the counts of all starts are added up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from speedyzero.runtime.wiring import SUPERVISOR, Wiring, waits_on
from speedyzero.shm import Board, BoardRow, Consumer, Ring
from speedyzero.system.host_figures import core_wait_s, machine_cpu_s
from speedyzero.topology.edges import SPANS
from speedyzero.topology.records import SpanBlock
from speedyzero.tracing.process_spans import NO_MORE, NOT_YET, WANTED

PROCESS_COUNTS = ("busy_cpu_ns", "wait_cpu_ns", "dropped_spans")
_OURS = ("metrics.", "spans.")  # rings to the supervisor, which drains them more often than it samples


@dataclass(frozen=True)
class Counts:
    """Counts of an interval, or so far."""

    of_processes: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by process and PROCESS_COUNTS
    core_wait_s: Mapping[str, float] = field(default_factory=dict)  # by process, where known
    machine_cpu_s: float = 0.0

    def plus(self, other: Counts, sign: int = 1) -> Counts:
        return Counts(
            _sum(self.of_processes, other.of_processes, sign),
            _sum(self.core_wait_s, other.core_wait_s, sign),
            self.machine_cpu_s + sign * other.machine_cpu_s,
        )


def _sum(one: Mapping, other: Mapping, sign: int) -> dict:
    return {key: one.get(key, 0) + sign * other.get(key, 0) for key in {**one, **other}}


class ProfiledProcesses:
    """One start of a run as processes, through their shared memory. Inline: `turns.ProfiledTurns`."""

    inline = False

    def __init__(self, wiring: Wiring, board: Board, row: BoardRow):
        """row: the supervisor's."""
        self._wiring, self._board, self._row = wiring, board, row
        self._first_step = board.total("train_steps")
        self.tracks = (*wiring.processes, SUPERVISOR)
        self.waits_on = waits_on(wiring)
        self._rings = [Ring.attach(wiring.run, spec) for spec in wiring.rings if not spec.name.startswith(_OURS)]
        self._consumers: dict[str, Consumer[SpanBlock]] = {
            process: Ring.attach(wiring.run, spec).consumer()
            for process, spec in zip(wiring.processes, wiring.queues[SPANS.name], strict=True)
        }
        self._before = Counts()
        # By process: its pid when it was first seen recording, and its seconds of waiting for a core until then.
        self._core_waits: dict[str, tuple[int, float]] = {}

    @property
    def learning(self) -> bool:
        """Whether it has trained since it started."""
        return self._board.total("train_steps") > self._first_step

    @property
    def all_acknowledged(self) -> bool:
        """Whether the last spans of all roles have been sent."""
        return all(self._board.counter(process, "profiling") == NO_MORE for process in self._wiring.processes)

    def begin(self) -> None:
        """Request spans."""
        self._before = self._counts()
        self._row.set_counter("profiling", WANTED)

    def end(self) -> Counts:
        """Request no more spans; returns what was counted since `begin`."""
        counts = self.counts_since_begin()
        self._row.set_counter("profiling", NO_MORE)
        return counts

    def counts_since_begin(self) -> Counts:
        return self._counts().plus(self._before, sign=-1)

    def blocks(self) -> Iterator[tuple[str, SpanBlock]]:
        """All blocks received, with their track."""
        for process, consumer in self._consumers.items():
            while (block := consumer.get()) is not None:
                yield process, block

    def look_at_processes(self) -> None:
        """Note the core wait so far of every process, replacements included, that has begun to record."""
        for process in self._wiring.processes:
            holder = self._board.process(process)
            if holder is None or self._board.counter(process, "profiling") == NOT_YET:
                continue
            if self._core_waits.get(process, (0, 0.0))[0] != holder.pid:
                waited_s = core_wait_s(holder.pid)
                if waited_s is not None:
                    self._core_waits[process] = (holder.pid, waited_s)

    def levels(self) -> dict[str, int]:
        """Records in flight by ring, those to the supervisor left out, and the run's steps."""
        rings = {ring.spec.name: ring.stats().in_flight for ring in self._rings}
        return rings | {name: self._board.total(name) for name in ("env_steps", "train_steps")}

    def _counts(self) -> Counts:
        waits: dict[str, float] = {}
        for process, (pid, before_s) in self._core_waits.items():
            now_s = core_wait_s(pid)
            if now_s is not None:
                waits[process] = now_s - before_s
        own = {(SUPERVISOR, "busy_cpu_ns"): time.process_time_ns()}
        counted = {
            (name, count): self._board.counter(name, count)
            for name in self._wiring.processes
            for count in PROCESS_COUNTS
        }
        return Counts(own | counted, waits, machine_cpu_s())
