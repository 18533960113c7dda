"""Restores a shard from a checkpoint: rows from the log, priorities beside them; then resumes the log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from speedyzero.checkpoint.log_format import LogPosition
from speedyzero.checkpoint.log_reader import restore
from speedyzero.checkpoint.replay_log import ReplayLog, replay_log_dir
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.replay.kept_priorities import restore_priorities
from speedyzero.replay.shard import Shard
from speedyzero.topology.role_state import RoleState


@dataclass(frozen=True)
class RestoredShard:
    """What was restored, and where its log resumes."""

    part: RoleState
    position: LogPosition
    train_step: int


def replay_part(shard: int) -> str:
    """The name of a shard's role state in a checkpoint."""
    return f"replay_{shard}"


def log_position(checkpoint: Checkpoint, index: int) -> LogPosition:
    """Where a checkpoint's replay ends in a shard's log. Raises ValueError if it is not recorded."""
    document = checkpoint.document(replay_part(index))
    return LogPosition.from_json(document.get("log") if isinstance(document, dict) else None)


def draws_of(checkpoint: Checkpoint, index: int) -> int:
    """Batches drawn from a shard."""
    return checkpoint.document(replay_part(index))["draws"]


def ticks_of(checkpoint: Checkpoint, index: int) -> tuple[int, ...]:
    """Records received from each of a shard's actors."""
    return log_position(checkpoint, index).ticks


def env_steps_of(checkpoint: Checkpoint, index: int) -> tuple[int, ...]:
    """Env steps in those records."""
    return tuple(checkpoint.document(replay_part(index))["env_steps"])


def restore_shard(shard: Shard, checkpoint: Checkpoint, run_dir: Path, *, index: int) -> RestoredShard:
    """Fill a new shard. Raises ValueError if log or checkpoint is damaged or of another shard."""
    part, position = checkpoint.part(replay_part(index)), log_position(checkpoint, index)
    restore(replay_log_dir(run_dir, index), position, shard)
    kept = {name: part.array(name) for name in ("priority", "stamp", "largest_priority")}
    restore_priorities(shard, kept, newest_version=checkpoint.step)
    for actor, env_steps in enumerate(env_steps_of(checkpoint, index)):
        shard.env_steps[actor] = env_steps
    return RestoredShard(part, position, checkpoint.step)


def open_log(run_dir: Path, shard: Shard, restored: RestoredShard | None, *, index: int) -> ReplayLog:
    """Open a shard's log, new or, after a restore, resumed. Raises ValueError while another process writes it."""
    directory = replay_log_dir(run_dir, index)
    if restored is None:
        return ReplayLog.open(directory, shard)
    return ReplayLog.resume(directory, shard, restored.position)
