"""Which checkpoints of a run are kept, and how much of the replay logs they need."""

from __future__ import annotations

from collections.abc import Mapping

from speedyzero.checkpoint.log_format import LogPosition
from speedyzero.checkpoint.manifest import step_of
from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import read_document, resumable
from speedyzero.config import Config
from speedyzero.reanalyze.restored import replay_part


def thin_out(store: CheckpointStore, config: Config, *, logs: Mapping[int, ReplayLog]) -> None:
    """Keep the last checkpoints, and of older ones the scored weights; trim the logs to what the kept ones need.

    logs: by shard, those that this process writes. Raises OSError if a write fails.
    """
    steps = [step_of(directory) for directory in resumable(store.run_dir)]
    interval, best = config.evaluate.interval_train_steps, read_scores(store.run_dir).get("best")
    scored = {step for step in steps if interval > 0 and step % interval == 0}
    kept = store.prune(
        keep_last=config.checkpoint.keep_last, keep_weights_of=scored | {best["step"]} if best else scored
    )
    for shard, log in logs.items():
        documents = (read_document(directory, replay_part(shard)) for directory in kept)
        log.discard(kept=[LogPosition.from_json(document["log"]) for document in documents])
