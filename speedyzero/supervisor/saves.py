"""Checkpoints of a process run: finished once every writer has written its files, abandoned if one fails.

Learners and reanalyzers write (`learner/group_saver.py`, `reanalyze/saver.py`); the manifest is written here. Of
several nodes the first writes it, once the others have reported their files; all lose a checkpoint that one could not
write.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping

from speedyzero.checkpoint.manifest import Entry, checkpoint_dir, read_manifest, step_of
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config
from speedyzero.learner.state import PART as LEARNER_PART
from speedyzero.nodes.watch import Elsewhere, Watch, Written
from speedyzero.reanalyze.restored import replay_part
from speedyzero.runtime.wiring import LEARNER, Wiring, reanalyzer_name
from speedyzero.shm import Board, BoardRow

OTHERS_S = 60.0  # for other nodes to report their files, once this one's are written
OTHERS_LAST_S = 12.0  # the same at the end of a run: torchrun kills 30 s after an interrupt
_TICK_S = 0.05

_log = logging.getLogger("speedyzero.checkpoint")


class Reporter:
    """Takes the store's place on other nodes than the first, to which it reports the files written here."""

    def __init__(self, nodes: Watch):
        self._run_dir, self._nodes = nodes.share.shared_dir(nodes.run_dir), nodes

    def finish(self, step: int, *, writers: Collection[str], others: Mapping[str, Entry]) -> None:
        """Raises ValueError if a list is missing, which is reported, too."""
        directory, files = checkpoint_dir(self._run_dir, step), dict(others)
        try:
            for writer in writers:
                files |= read_manifest(directory, writer=writer).files
        except ValueError:
            self.give_up(step)
            raise
        self._nodes.publish_written(Written(step, files))

    def give_up(self, step: int) -> None:
        self._nodes.publish_written(Written(step))


class Saves:
    """Follows the saves of one run."""

    def __init__(
        self,
        config: Config,
        wiring: Wiring,
        store: CheckpointStore | Reporter,
        board: Board,
        *,
        note: Callable[[str], None],
        row: BoardRow,
        flush: Callable[[], None],
        nodes: Watch | None = None,
    ):
        """row: the supervisor's, which publishes the step last dealt with. flush: writes pending metrics to disk."""
        self._config, self._store, self._board, self._row, self._nodes = config, store, board, row, nodes
        self._note, self._flush = note, flush
        shards = range(len(wiring.placement.shards))
        self._savers = [LEARNER, *map(reanalyzer_name, shards)]
        numbers = [nodes.share.number(index, of=len(shards)) if nodes else index for index in shards]
        is_first = isinstance(store, CheckpointStore)
        self._writers = [*([LEARNER_PART] if is_first else []), *map(replay_part, numbers)]
        self._settled_step = self._followed_step = 0
        self._awaited_since_s = 0.0

    def follow(self) -> None:
        """Finish the save under way if its files are written, abandon it if a write failed."""
        step = self._board.counter(LEARNER, "snapshot_step")
        if step <= self._settled_step:
            return
        missing, others = self._missing(step), self._elsewhere(step)
        if missing or step != self._followed_step:
            self._followed_step, self._awaited_since_s = step, time.monotonic()
        is_late = time.monotonic() - self._awaited_since_s > OTHERS_S
        failed = [name for name in self._savers if self._board.counter(name, "unsaved_step") >= step]
        failed += [*others.failed, *(others.awaited if is_late else ())]
        if failed:
            self._give_up(step, f", {', '.join(failed)} could not; training continues")
        elif not missing and not others.awaited:
            self._finish(step, others.files)

    def end(self, *, hurry: Callable[[], bool]) -> None:
        """All processes have ended: abandon a save that is incomplete, once other nodes have had time to report."""
        self.follow()
        step = self._board.counter(LEARNER, "snapshot_step")
        deadline_s = time.monotonic() + OTHERS_LAST_S
        while step > self._settled_step and not self._missing(step) and self._may_report():
            if hurry() or time.monotonic() > deadline_s:
                break
            time.sleep(_TICK_S)
            self.follow()
        if step > self._settled_step:
            missing = self._missing(step) or self._elsewhere(step).awaited
            self._give_up(step, f": {', '.join(missing)} ended before writing it")

    def _missing(self, step: int) -> list[str]:
        """The processes of this node that have not written their files."""
        return [name for name in self._savers if self._board.counter(name, "saved_step") < step]

    def _elsewhere(self, step: int) -> Elsewhere:
        if self._nodes is None or isinstance(self._store, Reporter):
            return Elsewhere()
        return self._nodes.written_elsewhere(step)

    def _may_report(self) -> bool:
        return self._nodes is not None and self._nodes.may_report()

    def _give_up(self, step: int, why: str) -> None:
        self._store.give_up(step)
        self._settle(step)
        self._note(f"checkpoint of train step {step} was not saved{why}")

    def _settle(self, step: int) -> None:
        self._settled_step = step
        self._row.set_counter("saved_step", step)

    def _finish(self, step: int, others: Mapping[str, Entry]) -> None:
        try:
            self._flush()
            self._store.finish(step, writers=self._writers, others=others)
            if isinstance(self._store, CheckpointStore):
                thin_out(self._store, self._config)
        except (OSError, ValueError) as error:
            _log.warning("%s", error)
            self._note(f"{error}; training continues")
        else:
            _log.info("checkpoint of train step %d saved", step)
        self._settle(step)


def thin_out(store: CheckpointStore, config: Config) -> None:
    """Keep the last checkpoints, and of older ones the scored weights. Raises OSError if a write fails."""
    steps = [step_of(directory) for directory in resumable(store.run_dir)]
    interval, best = config.evaluate.interval_train_steps, read_scores(store.run_dir).get("best")
    scored = {step for step in steps if interval > 0 and step % interval == 0}
    store.prune(keep_last=config.checkpoint.keep_last, keep_weights_of=scored | {best["step"]} if best else scored)
