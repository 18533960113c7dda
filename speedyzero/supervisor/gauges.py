"""Metrics that the supervisor reads from shared memory: rings, waits, lags, restarts, memory.

On the interval:  ring/NAME/in_flight, ring/NAME/dropped       lag/PROCESS: train steps that its weights are behind
                  time/PROCESS/{busy,wait_*}_s                 supervisor/env_steps, supervisor/restarts
                  time/supervisor/busy_cpu_s                   memory/PROCESS_mib: of its own
At the end also:  ring/NAME/{produced,consumed,unaccounted}, ring/NAME/dropped_REASON if any

    produced = consumed + dropped (by reason) + in flight        unaccounted is the difference: 0
"""

import logging
import time
from collections.abc import Callable

from speedyzero.observe.metrics import MetricsWriter
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.runtime.wiring import SUPERVISOR, Wiring
from speedyzero.shm import Board, Ring
from speedyzero.supervisor.alarms import Alarms
from speedyzero.system.host_figures import own_memory_bytes

log = logging.getLogger("speedyzero.supervisor")


class Gauges:
    def __init__(
        self,
        wiring: Wiring,
        board: Board,
        metrics: MetricsWriter,
        alarms: Alarms,
        server: ForkServer,
        *,
        interval_s: float,
        env_steps: Callable[[], int],
    ):
        """server: roles inherit its memory, which the kernel counts as their own. env_steps: of all nodes."""
        self._wiring, self._board, self._metrics, self._interval_s = wiring, board, metrics, interval_s
        self._alarms, self._server, self._env_steps = alarms, server, env_steps
        self._rings = [Ring.attach(wiring.run, spec) for spec in wiring.rings]
        self._due_s = time.monotonic() + interval_s

    def follow(self) -> None:
        """Record if the interval has passed."""
        if time.monotonic() >= self._due_s:
            self._due_s += self._interval_s
            self.record()

    def record(self) -> None:
        board, step = self._board, self._board.total("train_steps")
        for ring in self._rings:
            stats = ring.stats()
            self._metrics.write(f"ring/{ring.spec.name}/in_flight", stats.in_flight, step)
            self._metrics.write(f"ring/{ring.spec.name}/dropped", sum(stats.dropped.values()), step)
        for process in self._wiring.processes:
            for counter in board.spec.counters:
                if counter.endswith("_ns"):
                    seconds = board.counter(process, counter) / 1e9
                    self._metrics.write(f"time/{process}/{counter.removesuffix('_ns')}_s", seconds, step)
            if not process.startswith("learner"):
                lag = max(0, step - board.counter(process, "weights_version"))
                self._metrics.write(f"lag/{process}", lag, step)
                if process.startswith("actor") and board.counter(process, "busy_ns"):  # else it has read none yet
                    self._alarms.on_lag(process, lag, env_steps=board.total("env_steps"))
        self._metrics.write(f"time/{SUPERVISOR}/busy_cpu_s", time.process_time(), step)
        self._record_memory(step)
        self._metrics.write("supervisor/env_steps", self._env_steps(), step)
        self._metrics.write("supervisor/restarts", board.counter(SUPERVISOR, "restarts"), step)

    def _record_memory(self, step: int) -> None:
        """Of live processes; one that has just started or ended is left out."""
        total_bytes, inherited = 0, own_memory_bytes(self._server.pid) or 0
        for process in self._board.spec.rows:
            holder = self._board.process(process)
            own_bytes = own_memory_bytes(holder.pid) if holder is not None else None
            if own_bytes is not None:
                own_bytes = max(0, own_bytes - (0 if process == SUPERVISOR else inherited))
                self._metrics.write(f"memory/{process}_mib", own_bytes / 2**20, step)
                total_bytes += own_bytes
        self._alarms.on_memory(total_bytes, train_steps=step)

    def record_all(self) -> None:
        """At the end of the run, when all processes have ended."""
        self.record()
        step = self._board.total("train_steps")
        for ring in self._rings:
            name, stats = ring.spec.name, ring.stats()
            self._metrics.write(f"ring/{name}/produced", stats.produced, step)
            self._metrics.write(f"ring/{name}/consumed", stats.consumed, step)
            self._metrics.write(f"ring/{name}/unaccounted", stats.unaccounted, step)
            for reason, count in stats.dropped.items():
                if count:
                    self._metrics.write(f"ring/{name}/dropped_{reason}", count, step)
            if stats.unaccounted:
                log.error("ring %s: %d records are unaccounted for: %s", name, stats.unaccounted, stats)
