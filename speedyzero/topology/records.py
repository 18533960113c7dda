"""What crosses from one role to another: every record with its axes and types.

The edges that carry them are listed in `wiring.py`, which gives each axis its length. The types here are also the
layout in shared memory.

Axes: E lanes of one actor, B batch, K unroll steps, A actions, ... an observation's own axes ([H, W, C] uint8 for
an image, [D] float32 for a vector). A position is (lane, step); `step` counts a lane's rows from its beginning and
never wraps. Weights are named by their version: the train step that they were published at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch

from speedyzero.shm import Stored


@dataclass(frozen=True)
class StepRecord:
    """One tick of all of an actor's environments: one new row for each of its lanes.

    A row is the observation, the action taken on it, and what followed. An episode's final observation has a row
    of its own (`last`): no action was taken, reward 0; it is never a root and no env step. At a lost life no row is
    added: the next real frame serves, flagged `first`.
    """

    frame: np.ndarray  # [E, ...] uint8 or float32: the newest frame of the observation acted upon
    action: Annotated[np.ndarray, Stored("int16", "E")]
    reward: Annotated[np.ndarray, Stored("float32", "E")]  # learned from (possibly clipped), for this action
    raw_reward: Annotated[np.ndarray, Stored("float32", "E")]  # from the game
    first: Annotated[np.ndarray, Stored("bool", "E")]  # this observation begins an episode or a life
    terminal: Annotated[np.ndarray, Stored("bool", "E")]  # this action ended the episode or cost a life
    truncated: Annotated[np.ndarray, Stored("bool", "E")]  # a limit ended the episode after this action
    last: Annotated[np.ndarray, Stored("bool", "E")]  # a final observation, no action taken
    root_value: Annotated[np.ndarray, Stored("float32", "E")]  # of the actor's search
    visit_policy: Annotated[np.ndarray, Stored("float32", "E, A")]  # of the actor's search
    actor_version: Annotated[np.ndarray, Stored("int64", "E")]  # weights that acted


@dataclass(frozen=True)
class BatchRecord:
    """A shard's part of a learner's training batch, without frames: those are gathered from the shard.

    B is that part's size: `learner.batch_size` divided by the number of (shard, learner) pairs.
    """

    lane: Annotated[np.ndarray, Stored("int64", "B")]
    step: Annotated[np.ndarray, Stored("int64", "B")]  # the sampled (root) positions
    probability: Annotated[np.ndarray, Stored("float64", "B")]  # of drawing this sample from the whole replay
    action: Annotated[np.ndarray, Stored("int64", "B, K")]  # arbitrary where the mask is 0
    action_mask: Annotated[np.ndarray, Stored("float32", "B, K")]  # 1 where that action was taken in the root's episode
    value_target: Annotated[np.ndarray, Stored("float32", "B, K+1")]  # in reward units
    prefix_target: Annotated[np.ndarray, Stored("float32", "B, K")]  # value prefix (or reward) after each action
    policy_target: Annotated[np.ndarray, Stored("float32", "B, K+1, A")]  # all 0 past the episode's end
    target_version: Annotated[int, Stored("int64")]  # weights that made the targets
    made_at: Annotated[int, Stored("int64")]  # the train step at that time


@dataclass(frozen=True)
class PriorityRecord:
    """New priorities for the positions of one trained batch."""

    lane: Annotated[np.ndarray, Stored("int64", "B")]
    step: Annotated[np.ndarray, Stored("int64", "B")]
    version: Annotated[int, Stored("int64")]  # weights that computed them; a newer version wins
    priority: Annotated[np.ndarray, Stored("float32", "B")]


@dataclass(frozen=True)
class WeightsRecord:
    """One published set of weights: parameters and buffers of the acting network."""

    version: int  # train step
    flat: torch.Tensor  # [P] float32


@dataclass(frozen=True)
class MetricRecord:
    """One value of a metric."""

    name: str  # "learner/loss"; at most METRIC_NAME_BYTES of ASCII
    step: int  # train step
    value: float


METRIC_NAME_BYTES = 64


@dataclass(frozen=True)
class PackedMetric:
    """A MetricRecord in a ring."""

    name: Annotated[np.ndarray, Stored("uint8", "L")]  # ASCII, padded with zeros
    step: Annotated[int, Stored("int64")]
    value: Annotated[float, Stored("float64")]

    @classmethod
    def of(cls, record: MetricRecord) -> PackedMetric:
        name = record.name.encode("ascii").ljust(METRIC_NAME_BYTES, b"\0")
        return cls(np.frombuffer(name, np.uint8), record.step, record.value)

    def unpacked(self) -> MetricRecord:
        return MetricRecord(self.name.tobytes().rstrip(b"\0").decode("ascii"), self.step, self.value)


# What a process spends its time on; spans carry the index. The spans of a step lie inside its `step`.
SPAN_NAMES = tuple(
    "step wait_pacing wait_space wait_input wait_group save put get publish read load_weights environments search "
    "append_rows update_priorities draw make_targets network_values refresh search_ahead gather_frames update loss "
    "backward optimizer settle start drain_metrics collect_spans record_gauges look_after follow_saves "
    "follow_evaluations show_progress sleep".split()
)
SPANS_PER_BLOCK, SPAN_FIELDS = 256, 4


@dataclass(frozen=True)
class SpanBlock:
    """A process's spans that ended in one interval; its blocks cover consecutive intervals. At most N spans."""

    count: Annotated[int, Stored("int64")]  # of valid spans
    since_ns: Annotated[int, Stored("int64")]  # on the monotonic clock, the same for every process of a machine
    until_ns: Annotated[int, Stored("int64")]
    # F: index in SPAN_NAMES, start in ns, duration in ns, bytes moved.
    span: Annotated[np.ndarray, Stored("int64", "N, F")]
