"""Restores a shard from a checkpoint: rows from blocks, priorities beside them; then resumes its log."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from speedyzero.checkpoint.manifest import Entry
from speedyzero.checkpoint.replay_log import ReplayLog, SavedRows
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.replay.kept_priorities import restore_priorities
from speedyzero.replay.shard import Shard
from speedyzero.topology.role_state import RoleState


@dataclass(frozen=True)
class RestoredShard:
    """What was restored, and the entries of the blocks that hold its rows."""

    part: RoleState
    blocks: Mapping[str, Entry]
    train_step: int


def replay_part(shard: int) -> str:
    """The name of a shard's role state in a checkpoint."""
    return f"replay_{shard}"


def rows_of(checkpoint: Checkpoint, index: int) -> SavedRows:
    """The rows of a shard in a checkpoint. Raises ValueError if they are not described there."""
    document = checkpoint.document(replay_part(index))
    return SavedRows.of(checkpoint, index, document.get("rows"))


def env_steps_of(checkpoint: Checkpoint, index: int) -> tuple[int, ...]:
    """Env steps received from each of a shard's actors."""
    return tuple(checkpoint.document(replay_part(index))["env_steps"])


def restore_shard(shard: Shard, checkpoint: Checkpoint, *, index: int) -> RestoredShard:
    """Fill a new shard. Raises ValueError if the checkpoint is damaged or of another shard."""
    blocks = rows_of(checkpoint, index).restore(shard)
    part = checkpoint.part(replay_part(index))
    kept = {name: part.array(name) for name in ("priority", "stamp", "largest_priority")}
    restore_priorities(shard, kept, newest_version=checkpoint.step)
    for actor, env_steps in enumerate(env_steps_of(checkpoint, index)):
        shard.env_steps[actor] = env_steps
    return RestoredShard(part, blocks, checkpoint.step)


def open_log(run_dir: Path, shard: Shard, restored: RestoredShard | None, *, index: int) -> ReplayLog:
    """Open a shard's log, new or, after a restore, resumed. Raises ValueError while another process writes it."""
    if restored is None:
        return ReplayLog.open(run_dir, shard, index=index)
    return ReplayLog(run_dir, shard, index=index, written=restored.blocks)
