"""Checkpoints of an inline run, written between two turns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from speedyzero.checkpoint.save_clock import SaveClock
from speedyzero.checkpoint.snapshot import Snapshot, take_snapshot
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.reanalyze.restored import replay_part
from speedyzero.supervisor.inline_state import ACTOR_PART, EDGES_PART, ENV_PART, edges_part
from speedyzero.supervisor.thinning import thin_out

if TYPE_CHECKING:
    from speedyzero.supervisor.inline import InlineRun

_log = logging.getLogger("speedyzero.checkpoint")


class InlineCheckpoints:
    def __init__(self, run: InlineRun, store: CheckpointStore, *, note: Callable[[str], None]):
        self._run, self._store, self._note = run, store, note
        self._clock = SaveClock(run.config.checkpoint, step=run.learner.train_step or -1)

    def after_turn(self) -> None:
        """Save if due."""
        if self._clock.due(self._run.learner.train_step):
            self.save()

    def save(self) -> None:
        """Save unless this train step is saved already. A failed write is reported and otherwise ignored."""
        if self._run.learner.train_step != self._clock.saved_step:
            self.save_now()

    def save_now(self) -> None:
        step = self._run.learner.train_step
        self._clock.saved(step)
        try:
            self._store.write(snapshot_of(self._run))
        except OSError as error:
            _log.warning("%s", error)
            self._note(f"checkpoint of train step {step} was not saved, training continues: {error}")
            return
        try:
            thin_out(self._store, self._run.config, logs={0: self._run.log} if self._run.log is not None else {})
        except (OSError, ValueError) as error:  # a damaged older one; the new one is valid
            _log.warning("%s", error)
            self._note(f"older checkpoints and the log were not pruned: {error}")


def snapshot_of(run: InlineRun) -> Snapshot:
    """Raises OSError if the replay's rows cannot be flushed to disk."""
    state, board = run.learner.state(), run.edges.board
    return take_snapshot(
        meta=checkpoint_meta(run.config, run.game, env_steps=board.env_steps, step=state.train_step),
        weights=state.weights,
        state={"train_steps": state.train_step, "mode": "inline"},
        parts={
            **state.parts(),
            replay_part(0): run.reanalyzer.part(),
            ACTOR_PART: run.actor.part(),
            ENV_PART: run.env.part(),
            EDGES_PART: edges_part(run.edges),
        },
    )
