"""Targets of sampled positions: rewards from the lanes, values and policies from the target network's memo.

Each kind of value target (`target.value`) is one function of `VALUE_TARGETS`.

Axes: B samples, K unroll steps, A actions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from speedyzero.config import Config
from speedyzero.model.agent import Agent
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.targets import NO_STEP, TargetPlan, assemble_values, plan_targets, td_steps_by_age
from speedyzero.replay.shard import Shard

# (agent, lane [N], step [N]): values of positions, [N] float32.
_Lookup = Callable[[Agent, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PlannedBatch:
    """Positions, with the part of their targets that needs no network."""

    lane: np.ndarray  # [B] int64
    step: np.ndarray  # [B] int64
    plan: TargetPlan
    train_step: int  # current


@dataclass(frozen=True)
class MadeTargets:
    plan: TargetPlan
    value: np.ndarray  # [B, K+1] float32
    policy: np.ndarray  # [B, K+1, A] float32; all 0 past the end


class TargetMaker:
    """Makes targets for one shard's positions, with the agent's current weights."""

    def __init__(self, config: Config, shard: Shard, memo: TargetMemo, agent: Agent, *, shards: int):
        """shards: number of shards in the replay, since ages are in transitions of all of them."""
        self._config, self._shard, self._memo, self._agent = config, shard, memo, agent
        self._all_lanes = shard.lanes * shards

    def make(self, lane: np.ndarray, step: np.ndarray, *, train_step: int) -> MadeTargets:
        """All targets of a batch. lane, step: [B] int64."""
        plan = self._plan(lane, step, unroll_steps=self._config.target.unroll_steps)
        policy = self._policies(lane, plan)  # first: a search also stores the root's network value
        return MadeTargets(plan, self._values(PlannedBatch(lane, step, plan, train_step)), policy)

    def root_values(self, lane: np.ndarray, step: np.ndarray, *, train_step: int) -> np.ndarray:
        """The value targets of the positions themselves, [B] float32."""
        plan = self._plan(lane, step, unroll_steps=0)
        return self._values(PlannedBatch(lane, step, plan, train_step))[:, 0]

    def age(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """In transitions of the whole replay, [B]. Counts rows, so one final observation per game is included."""
        return (self._shard.head[lane] - step) * self._all_lanes

    def td_steps(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """n by age, [B] int64."""
        target, schedule = self._config.target, self._config.schedule
        return td_steps_by_age(
            self.age(lane, step),
            td_steps=target.td_steps,
            decay_env_steps=target.td_decay_fraction * schedule.env_steps,
        )

    def _plan(self, lane: np.ndarray, step: np.ndarray, *, unroll_steps: int) -> TargetPlan:
        search = self._config.search
        return plan_targets(
            self._shard,
            lane,
            step,
            self.td_steps(lane, step),
            unroll_steps=unroll_steps,
            discount=search.discount,
            prefix_horizon=search.prefix_horizon,
        )

    def _values(self, batch: PlannedBatch) -> np.ndarray:
        """Value targets of the configured kind, [B, K+1]."""
        return VALUE_TARGETS[self._config.target.value](self, batch)

    def _network_values(self, batch: PlannedBatch) -> np.ndarray:
        """Bootstraps are the target network's values. MuZero, App. H; EfficientZero."""
        return self._n_step(self._memo.network_values, batch, batch.plan.bootstrap_step != NO_STEP)

    def _root_values(self, batch: PlannedBatch) -> np.ndarray:
        """Bootstraps are the values of the target network's searches."""
        return self._n_step(self._memo.root_values, batch, batch.plan.bootstrap_step != NO_STEP)

    def _mixed_values(self, batch: PlannedBatch) -> np.ndarray:
        """EfficientZero V2: for old data, after `mixed_start_fraction` of the run, the searched value of each state;
        otherwise as `_network_values`."""
        plan, target, schedule = batch.plan, self._config.target, self._config.schedule
        has_begun = batch.train_step >= target.mixed_start_fraction * schedule.train_steps
        is_old = self.age(batch.lane, batch.step) > target.mixed_fresh_fraction * schedule.env_steps  # [B]
        searched = (has_begun & is_old)[:, None] & (plan.policy_step != NO_STEP)
        value = self._n_step(self._memo.network_values, batch, (plan.bootstrap_step != NO_STEP) & ~searched)
        if searched.any():
            value[searched] = self._looked_up(self._memo.root_values, batch.lane, plan.policy_step, searched)[searched]
        return value

    def _n_step(self, lookup: _Lookup, batch: PlannedBatch, bootstrapped: np.ndarray) -> np.ndarray:
        """n-step targets, [B, K+1], with bootstraps from `lookup`. bootstrapped: [B, K+1] bool, which need one."""
        return assemble_values(batch.plan, self._looked_up(lookup, batch.lane, batch.plan.bootstrap_step, bootstrapped))

    def _looked_up(self, lookup: _Lookup, lane: np.ndarray, steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Values at the wanted steps, [B, K+1]; 0 elsewhere."""
        row, state = np.nonzero(wanted)
        values = np.zeros(steps.shape, np.float32)
        values[row, state] = lookup(self._agent, lane[row], steps[row, state])
        return values

    def _policies(self, lane: np.ndarray, plan: TargetPlan) -> np.ndarray:
        """Policies at the unrolled steps, [B, K+1, A]."""
        policy = np.zeros((*plan.policy_step.shape, self._agent.num_actions), np.float32)
        row, state = np.nonzero(plan.policy_step != NO_STEP)
        step = plan.policy_step[row, state]
        searched = row < int(self._config.reanalyze.policy_share * len(lane))
        policy[row[searched], state[searched]] = self._memo.policies(self._agent, lane[row[searched]], step[searched])
        kept_lane, kept_slot = lane[row[~searched]], step[~searched] % self._shard.rows
        policy[row[~searched], state[~searched]] = self._shard.visit_policy[kept_lane, kept_slot]
        return policy


# By `target.value`: value targets of a batch, [B, K+1] float32.
VALUE_TARGETS: dict[str, Callable[[TargetMaker, PlannedBatch], np.ndarray]] = {
    "network": TargetMaker._network_values,
    "root": TargetMaker._root_values,
    "mixed": TargetMaker._mixed_values,
}
