"""Checkpoints of a process run: finished once every writer has written its files, abandoned if one fails.

Learners and reanalyzers write (`learner/group_saver.py`, `reanalyze/saver.py`); the manifest is written here.
"""

import logging
from collections.abc import Callable

from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config
from speedyzero.learner.state import PART as LEARNER_PART
from speedyzero.reanalyze.restored import replay_part
from speedyzero.runtime.wiring import LEARNER, Wiring, reanalyzer_name
from speedyzero.shm import Board, BoardRow

_log = logging.getLogger("speedyzero.checkpoint")


class Saves:
    """Follows the saves of one run."""

    def __init__(
        self,
        config: Config,
        wiring: Wiring,
        store: CheckpointStore,
        board: Board,
        *,
        note: Callable[[str], None],
        row: BoardRow,
        flush: Callable[[], None],
    ):
        """row: the supervisor's, which publishes the step last dealt with. flush: writes pending metrics to disk."""
        self._config, self._store, self._board, self._row = config, store, board, row
        self._note, self._flush = note, flush
        shards = len(wiring.placement.shards)
        self._savers = [LEARNER, *(reanalyzer_name(index) for index in range(shards))]
        self._writers = [LEARNER_PART, *(replay_part(index) for index in range(shards))]
        self._settled_step = 0

    def follow(self) -> None:
        """Finish the save under way if its files are written, abandon it if a write failed."""
        step = self._board.counter(LEARNER, "snapshot_step")
        if step <= self._settled_step:
            return
        failed = [name for name in self._savers if self._board.counter(name, "unsaved_step") >= step]
        if failed:
            self._store.give_up(step)
            self._settle(step)
            self._note(
                f"checkpoint of train step {step} was not saved, {', '.join(failed)} could not; training continues"
            )
        elif all(self._board.counter(name, "saved_step") >= step for name in self._savers):
            self._finish(step)
            self._settle(step)

    def end(self) -> None:
        """All processes have ended: abandon a save that is incomplete."""
        self.follow()
        step = self._board.counter(LEARNER, "snapshot_step")
        if step > self._settled_step:
            missing = [name for name in self._savers if self._board.counter(name, "saved_step") < step]
            self._store.give_up(step)
            self._note(f"checkpoint of train step {step} was not saved: {', '.join(missing)} ended before writing it")

    def _settle(self, step: int) -> None:
        self._settled_step = step
        self._row.set_counter("saved_step", step)

    def _finish(self, step: int) -> None:
        try:
            self._flush()
            self._store.finish(step, writers=self._writers)
            thin_out(self._store, self._config)
        except (OSError, ValueError) as error:
            _log.warning("%s", error)
            self._note(f"{error}; training continues")
        else:
            _log.info("checkpoint of train step %d saved", step)


def thin_out(store: CheckpointStore, config: Config) -> None:
    """Keep the last checkpoints, and of older ones the scored weights. Raises OSError if a write fails."""
    steps = [step_of(directory) for directory in resumable(store.run_dir)]
    interval, best = config.evaluate.interval_train_steps, read_scores(store.run_dir).get("best")
    scored = {step for step in steps if interval > 0 and step % interval == 0}
    store.prune(keep_last=config.checkpoint.keep_last, keep_weights_of=scored | {best["step"]} if best else scored)
