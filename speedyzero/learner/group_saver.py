"""The learner group's part in full checkpoints: ranks agree on a step, rank 0 copies its state, a thread writes it.

    rank 0: due? -> asks in the next step's agreement -> all ranks, after that step: average buffers -> rank 0: copy to
    the host (the pause), snapshot_step -> a thread writes the files -> saved_step, or unsaved_step if the write fails

Reanalyzers write their files when `snapshot_step` advances, on other nodes, too; the supervisor of node 0 assembles the
checkpoint and publishes its own `saved_step`.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from speedyzero.checkpoint.save_clock import SaveClock
from speedyzero.checkpoint.snapshot import Snapshot, take_snapshot
from speedyzero.checkpoint.store import write_share
from speedyzero.learner.learner import Learner
from speedyzero.learner.state import PART as LEARNER_PART
from speedyzero.runtime.role_process import RoleProcess
from speedyzero.runtime.wiring import LEARNER, SUPERVISOR
from speedyzero.topology.records import MetricRecord

_log = logging.getLogger("speedyzero.checkpoint")


class GroupSaver:
    """One rank's view of the run's saves."""

    def __init__(self, process: RoleProcess, learner: Learner):
        self._process, self._learner = process, learner
        self._config, self._board = process.spec.config.checkpoint, process.run_board
        self._clock = SaveClock(self._config, step=learner.train_step or -1)
        self._thread: threading.Thread | None = None

    def due(self) -> bool:
        """Whether all ranks save after the step just completed. Call after every step; True once per save.

        No save starts while another is in progress; it is postponed instead.
        """
        learner, ahead = self._learner, int(self._learner.group.size > 1)
        is_due, learner.is_to_save = learner.is_to_save, False
        is_under_way = self._snapshot_step > self._board.counter(SUPERVISOR, "saved_step")
        if learner.group.rank == 0 and not is_due and not is_under_way and self._clock.due(learner.train_step + ahead):
            self._clock.saved(learner.train_step + ahead)
            learner.asks_to_save, is_due = bool(ahead), not ahead
        return is_due

    def save(self, meta: Mapping[str, Any]) -> None:
        """Copy the state and start writing it. Buffers must be averaged. Each step is saved once.

        On the first rank of another node: its reanalyzers write, the learners' state is written by rank 0.
        """
        learner = self._learner
        step = learner.train_step
        resume = self._process.spec.resume
        if self._config.keep_last == 0 or step <= max(self._snapshot_step, resume.step if resume else 0):
            return
        if learner.group.rank > 0:
            self._process.report_progress("saved_step", step)
            self._process.report_progress("snapshot_step", step)
            return
        self.wait()
        started_s = time.monotonic()
        state = learner.state()
        snapshot = take_snapshot(
            meta=meta,
            weights=state.weights,
            state={"train_steps": step, "mode": "processes"},
            parts=state.parts(),
        )
        pause_s = time.monotonic() - started_s
        self._clock.saved(step)
        self._process.report_progress("snapshot_step", step)
        for name, value in (("learner/save_pause_s", pause_s), ("learner/save_mib", snapshot.nbytes / 2**20)):
            self._process.metrics.put(MetricRecord(name, step, value))
        self._thread = threading.Thread(target=self._write, args=(snapshot,), name="save")
        self._thread.start()

    def wait(self) -> None:
        """Wait until a save in progress is written."""
        if self._thread is not None:
            self._thread.join()

    @property
    def _snapshot_step(self) -> int:
        return self._board.counter(LEARNER, "snapshot_step")

    def _write(self, snapshot: Snapshot) -> None:
        try:
            contents, run_dir = snapshot.contents(), self._process.spec.shared_dir
            write_share(run_dir, snapshot.step, LEARNER_PART, contents, written=snapshot.written)
        except (OSError, ValueError) as error:
            _log.warning("%s", error)
            self._process.report_progress("unsaved_step", snapshot.step)
        else:
            self._process.report_progress("saved_step", snapshot.step)
