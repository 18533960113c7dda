"""The replay shard: E lanes of T rows, each lane the uninterrupted stream of one environment.

A position is (lane, step); its row lies at step % T. Nothing is cut into blocks or padded: a position's stack,
unroll and bootstrap are its neighbours in the lane. The reanalyzer writes; other processes read.

A position is eligible as a root if its stack is still stored and its lookahead is already stored:

    head - T + guard + stack - 1  <=  step  <  head - lookahead        and not `last`

The guard excludes the oldest rows, which may be overwritten while a batch is in flight.

Axes: E lanes, T rows, B positions, S stacked frames, K unroll steps, A actions, ... an observation's own axes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from speedyzero.config import Config
from speedyzero.config.placement import place
from speedyzero.env.base import ObservationSpec
from speedyzero.shm import Field, RecordLayout
from speedyzero.topology.pacing import slack_env_steps
from speedyzero.topology.records import StepRecord

GUARD_ROWS = 32


@dataclass(frozen=True)
class ShardShape:
    """Types and shapes of a shard's arrays. Picklable. Raises ValueError if a lane is too short for one lookahead."""

    lanes: int
    rows: int
    spec: ObservationSpec
    num_actions: int
    stack: int
    lookahead: int
    actors: int = 1  # each feeds an equal, contiguous part of the lanes

    def __post_init__(self):
        shortest = 2 * (self.lookahead + self.stack)
        if self.rows < shortest:
            raise ValueError(
                f"a lane of {self.rows} rows is too short for twice a stack of {self.stack} + "
                f"lookahead {self.lookahead} = {shortest}"
            )
        if self.lanes % self.actors:
            raise ValueError(f"{self.lanes} lanes cannot be divided equally among {self.actors} actors")

    @property
    def guard(self) -> int:
        return min(GUARD_ROWS, self.rows // 4)

    def fields(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of every array, by name: the fields of a step record for every row, and the shard's own."""
        rows = (self.lanes, self.rows)
        frame = Field(np.dtype(self.spec.dtype).str, (1, *self.spec.shape))
        layout = RecordLayout.stored(StepRecord, {"E": 1, "A": self.num_actions}, frame=frame)
        return {
            "ticks": ("i8", (self.actors,)),  # records appended from each actor; stored last, as the commit
            "env_steps": ("i8", (self.actors, 2)),  # in each actor's records, after its last even and odd tick
            **{name: (field.dtype, (*rows, *field.shape[1:])) for name, field in layout.fields},
            "priority": ("f4", rows),  # 0: not yet admitted by the sampler
            "stamp": ("i8", rows),  # version of the weights behind each priority; -1: never sampled
            "largest_priority": ("f4", (1,)),  # of any position so far
        }


class Shard:
    """The rows of every lane, over arrays that may be shared. One process writes."""

    def __init__(self, shape: ShardShape, arrays: Mapping[str, np.ndarray] | None = None):
        """arrays: of `shape.fields()`, with their contents; None allocates new ones in this process."""
        self.shape = shape
        self.lanes, self.rows, self.stack, self.lookahead = shape.lanes, shape.rows, shape.stack, shape.lookahead
        if arrays is None:
            arrays = {name: np.zeros(size, dtype) for name, (dtype, size) in shape.fields().items()}
        self.ticks = arrays["ticks"]
        self.env_steps = arrays["env_steps"]
        self.frame, self.action, self.reward = arrays["frame"], arrays["action"], arrays["reward"]
        self.raw_reward, self.root_value = arrays["raw_reward"], arrays["root_value"]
        self.first, self.last = arrays["first"], arrays["last"]
        self.terminal, self.truncated = arrays["terminal"], arrays["truncated"]
        self.visit_policy, self.actor_version = arrays["visit_policy"], arrays["actor_version"]
        self.priority, self.stamp = arrays["priority"], arrays["stamp"]
        self.largest_priority = arrays["largest_priority"]
        # Rows ever written to each lane, [E]; an actor's lanes advance together.
        self.head = np.repeat(self.ticks, shape.lanes // shape.actors)

    def lanes_of(self, actor: int) -> np.ndarray:
        share = self.lanes // self.shape.actors
        return np.arange(actor * share, (actor + 1) * share)

    def append(self, record: StepRecord, *, actor: int = 0) -> None:
        """Write one tick of an actor, one row to each of its lanes."""
        lane = self.lanes_of(actor)
        slot = self.head[lane] % self.rows
        for name in vars(record):
            getattr(self, name)[lane, slot] = getattr(record, name)
        self.priority[lane, slot], self.stamp[lane, slot] = 0, -1
        self.head[lane] += 1
        parity = self.ticks[actor] % 2
        self.env_steps[actor, 1 - parity] = self.env_steps[actor, parity] + np.count_nonzero(~record.last)
        self.ticks[actor] += 1  # last: if the writer dies before, its replacement writes the rows again

    def env_steps_of(self, actor: int) -> int:
        """Env steps in all records appended from an actor, including overwritten ones."""
        return int(self.env_steps[actor, self.ticks[actor] % 2])

    def cut_off(self, *, actor: int) -> None:
        """After an actor's death: its lanes' last committed rows become final observations of truncated episodes.

        Its replacement starts new games. Idempotent.
        """
        lane = self.lanes_of(actor)
        lane = lane[self.head[lane] > 0]
        final = (self.head[lane] - 1) % self.rows
        under_way = ~self.last[lane, final]
        self.end_game(lane[under_way], final[under_way])

    def end_game(self, lane: np.ndarray, final: np.ndarray) -> None:
        """Make rows the final observations of truncated episodes. lane, final (slots): [N]."""
        continues = ~self.first[lane, final]  # otherwise the row began an episode: nothing to truncate
        self.truncated[lane[continues], final[continues] - 1] = True
        for name in ("action", "reward", "raw_reward", "terminal", "truncated"):
            getattr(self, name)[lane, final] = 0
        self.last[lane, final] = True  # last: if the writer dies before, all of it is done again

    def newest_eligible(self) -> np.ndarray:
        """The step of each lane that the last append made eligible, [E]; negative while there is none."""
        return self.head - 1 - self.lookahead

    def oldest_eligible(self) -> np.ndarray:
        """The oldest eligible step of each lane, [E]."""
        return np.maximum(0, self.head - self.rows + self.shape.guard + self.stack - 1)

    def stack_steps(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Steps of the frames stacked at each position, [B, S] oldest first; an episode's first frame repeats."""
        steps = np.empty((len(step), self.stack), np.int64)
        steps[:, -1] = step
        for i in range(self.stack - 2, -1, -1):
            newer = steps[:, i + 1]
            steps[:, i] = newer - ~self.first[lane, newer % self.rows]
        return steps

    def gather_stacks(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Stacked observations, [B, S, ...]. lane, step: [B] int64."""
        return self.frame[lane[:, None], self.stack_steps(lane, step) % self.rows]

    def gather_windows(self, lane: np.ndarray, step: np.ndarray, *, unroll_steps: int) -> np.ndarray:
        """A root's stack and the K frames after it, [B, S+K, ...]; unrolled state j's stack is window[j : j + S].

        Frames past the root's episode are those that follow in the lane; the loss masks them.
        """
        past = self.stack_steps(lane, step)
        future = step[:, None] + np.arange(1, unroll_steps + 1)
        return self.frame[lane[:, None], np.concatenate([past, future], axis=1) % self.rows]


def shard_shape(config: Config, spec: ObservationSpec, num_actions: int) -> ShardShape:
    """The shape of each of the run's shards: the configured capacity, but no more rows than the run can fill.

    Raises ValueError if play may overwrite rows that a batch in flight still reads.
    """
    placement, target = place(config), config.target
    all_lanes = config.actor.envs * len(placement.actors)
    wanted_rows = -(-config.replay.capacity_steps // all_lanes)
    # Final observations take rows, too: in the shortest games as many as there are env steps.
    fillable_rows = 2 * (-(-config.schedule.env_steps // all_lanes) + 1) + GUARD_ROWS + config.env.stack
    guard = min(GUARD_ROWS, wanted_rows // 4)
    if wanted_rows < fillable_rows and (in_flight := _rows_in_flight(config, all_lanes)) > guard:
        raise ValueError(
            f"replay.capacity_steps={config.replay.capacity_steps} wraps; {in_flight} rows of a lane may be written "
            f"while a batch is in flight, more than the guard of {guard}; lower "
            "schedule.pacing_slack_env_steps or the env steps a train step"
        )
    return ShardShape(
        lanes=all_lanes // len(placement.shards),
        rows=min(wanted_rows, fillable_rows),
        actors=len(placement.actors) // len(placement.shards),
        spec=spec,
        num_actions=num_actions,
        stack=config.env.stack,
        lookahead=target.unroll_steps + target.td_steps,
    )


def _rows_in_flight(config: Config, all_lanes: int) -> int:
    """Rows of a lane that may be written while a batch is in flight.

    Two batches wait in the ring and one is in training, each for a train step's share of play; play may be ahead by the
    slack.
    """
    schedule = config.schedule
    env_steps_per_train_step = (schedule.env_steps - schedule.head_start_env_steps) / schedule.train_steps
    slack = slack_env_steps(schedule, all_lanes)
    return math.ceil((slack + 3 * env_steps_per_train_step) / all_lanes)
