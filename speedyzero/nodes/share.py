"""A node's share of a run: its own settings, and the numbers of its lanes, shards and learners in the whole run.

A node is a run with 1/N of the play, the replay and the batch. Counts of processes and environments are per node, as is
`gpus`. Schedules follow the train step, which is the same on all nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from speedyzero.config import Config, get
from speedyzero.config.settings import SETTINGS, build

DIVIDED = (
    "learner.batch_size",
    "learner.publish_interval_samples",
    "target.interval_samples",
    "replay.capacity_steps",
    "schedule.env_steps",
    "schedule.head_start_env_steps",
    "schedule.pacing_slack_env_steps",
)

NODES_FOLDER = "nodes"


@dataclass(frozen=True)
class Share:
    node: int = 0
    nodes: int = 1

    def of(self, whole: Config) -> Config:
        """The node's own settings. Raises ValueError, with both numbers, for one that cannot be divided."""
        for path in DIVIDED:
            if get(whole, path) % self.nodes:
                raise ValueError(f"{path}={get(whole, path)} does not divide into {self.nodes} equal parts, one a node")
        return _with(whole, lambda value: value // self.nodes)

    def whole(self, own: Config) -> Config:
        """The whole run's settings, from a node's own."""
        return _with(own, lambda value: value * self.nodes)

    def own_dir(self, shared_dir: Path) -> Path:
        """Where this node writes metrics, log and crashes: RUN_DIR/nodes/N, on node 0 the run's directory itself."""
        return shared_dir / NODES_FOLDER / str(self.node) if self.node else shared_dir

    def shared_dir(self, own_dir: Path) -> Path:
        """The run's directory, with the checkpoints of all nodes."""
        return own_dir.parents[1] if self.node else own_dir

    def number(self, local: int, *, of: int) -> int:
        """The number in the whole run of one of a node's `of` actors, shards or learners."""
        return self.node * of + local


WHOLE = Share()


def _with(config: Config, change: Callable[[int], int]) -> Config:
    values = {path: get(config, path) for path in SETTINGS}
    return build(values | {path: change(values[path]) for path in DIVIDED})
