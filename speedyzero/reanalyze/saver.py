"""A reanalyzer's share of full checkpoints: syncs its log, writes priorities and memo as a role state."""

import logging
import time

from speedyzero.checkpoint.snapshot import encode_part
from speedyzero.checkpoint.store import write_share
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.reanalyze.restored import replay_part
from speedyzero.runtime.role_process import DONE, RoleProcess
from speedyzero.runtime.wiring import LEARNER
from speedyzero.topology.records import MetricRecord
from speedyzero.tracing.spans import Span

# For the learner's last snapshot after a stop request; shorter than the supervisor's limit for the shutdown.
LAST_WAIT_S = 6.0
DEAD_S = 3.0  # without a heartbeat, of two per second: the learner takes no more snapshots
_TICK_S = 0.01
_SAVE = Span("save")

_log = logging.getLogger("speedyzero.checkpoint")


class ReplaySaver:
    """Saves one shard when the learner has copied its state."""

    def __init__(self, process: RoleProcess, reanalyzer: Reanalyzer, *, number: int):
        """number: of the shard in the whole run."""
        self._process, self._reanalyzer, self._number = process, reanalyzer, number
        self._board, self._name = process.run_board, process.spec.name

    def is_wanted(self) -> bool:
        done = max(self._board.counter(self._name, counter) for counter in ("saved_step", "unsaved_step"))
        return self._board.counter(LEARNER, "snapshot_step") > done

    def save(self) -> None:
        """Write this shard's files of the learner's snapshot. A failed write is reported as `unsaved_step`."""
        with _SAVE:
            self._save()

    def _save(self) -> None:
        process, started_s = self._process, time.monotonic()
        step = self._board.counter(LEARNER, "snapshot_step")
        try:
            name, part = replay_part(self._number), self._reanalyzer.part()
            write_share(process.spec.shared_dir, step, name, encode_part(name, part), written=part.written)
        except (OSError, ValueError) as error:
            _log.warning("%s could not save train step %d: %s", self._name, step, error)
            process.report_progress("unsaved_step", step)
            return
        process.report_progress("saved_step", step)
        process.metrics.put(MetricRecord("reanalyzer/save_s", step, time.monotonic() - started_s))
        try:
            assert self._reanalyzer.log is not None
            self._reanalyzer.log.sweep()
        except OSError as error:
            _log.warning("%s could not delete blocks that no checkpoint lists: %s", self._name, error)

    def save_last(self) -> None:
        """At the end of the run: save with the learner's last snapshot, if one is taken."""
        deadline_s = time.monotonic() + LAST_WAIT_S
        is_over = False
        while not self.is_wanted():
            if is_over:
                return
            time.sleep(_TICK_S)
            # A learner that is done took its snapshot before: poll once more.
            silent_s = self._board.heartbeat_age_s(LEARNER) or 0.0
            is_over = self._board.state(LEARNER) == DONE or silent_s > DEAD_S or time.monotonic() > deadline_s
        self.save()
