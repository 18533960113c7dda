"""Which checkpoints of a run are kept."""

from __future__ import annotations

from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config


def thin_out(store: CheckpointStore, config: Config) -> None:
    """Keep the last checkpoints, and of older ones the scored weights. Raises OSError if a write fails."""
    steps = [step_of(directory) for directory in resumable(store.run_dir)]
    interval, best = config.evaluate.interval_train_steps, read_scores(store.run_dir).get("best")
    scored = {step for step in steps if interval > 0 and step % interval == 0}
    store.prune(keep_last=config.checkpoint.keep_last, keep_weights_of=scored | {best["step"]} if best else scored)
