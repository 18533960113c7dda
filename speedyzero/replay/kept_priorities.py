"""A shard's priorities in a checkpoint: by age, so that the lanes may have another length on resume.

Rows are in the replay log. Priorities change all the time and are small, so each checkpoint has them all.

Axes: E lanes, n rows: the newest of each lane, the newest last.
"""

from collections.abc import Mapping

import numpy as np

from speedyzero.replay.shard import Shard

NAMES = ("priority", "stamp", "largest_priority")


def kept_priorities(shard: Shard) -> dict[str, np.ndarray]:
    """priority [E, n] float32, stamp [E, n] int64, largest_priority [1] float32."""
    rows = min(shard.rows, int(shard.head.max(initial=0)))
    at = _slots(shard, rows)
    return {
        "priority": shard.priority[at],
        "stamp": shard.stamp[at],
        "largest_priority": shard.largest_priority.copy(),
    }


def restore_priorities(shard: Shard, kept: Mapping[str, np.ndarray], *, newest_version: int) -> None:
    """Set the priorities of restored rows. Stamps newer than newest_version become newest_version.

    Raises ValueError if the lanes differ.
    """
    lanes, rows = kept["priority"].shape
    if lanes != shard.lanes or kept["stamp"].shape != (lanes, rows) or rows > int(shard.head.max(initial=0)):
        raise ValueError(f"priorities of {lanes} lanes, {rows} rows; the shard has {shard.lanes}, {shard.head.max()}")
    newest = min(rows, shard.rows)
    at = _slots(shard, newest)
    is_there = shard.head[:, None] - newest + np.arange(newest) >= 0
    priority, stamp = kept["priority"][:, rows - newest :], kept["stamp"][:, rows - newest :]
    shard.priority[at] = np.where(is_there, priority, shard.priority[at])
    shard.stamp[at] = np.where(is_there, np.minimum(stamp, newest_version), shard.stamp[at])
    shard.largest_priority[:] = kept["largest_priority"]


def _slots(shard: Shard, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots of the newest `rows` rows of each lane; an unused slot before a lane's first row."""
    step = shard.head[:, None] - rows + np.arange(rows)  # [E, n]
    return np.arange(shard.lanes)[:, None], step % shard.rows
