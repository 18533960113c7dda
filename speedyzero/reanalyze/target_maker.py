"""Targets of sampled positions: rewards off the lanes, values and policies from the target network's memo.

Bootstraps are the target network's value (`target.value=network`), the value of its search (`root`), or `mixed`
(EfficientZero V2): n-step targets with the network's value at first and for the newest data, and for older data, once
the run is far enough, the searched value of each state itself.

Axes: B samples, K unroll steps, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from speedyzero.config import Config
from speedyzero.model.agent import Agent
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.targets import NO_STEP, TargetPlan, assemble_values, plan_targets, td_steps_by_age
from speedyzero.replay.shard import Shard


@dataclass(frozen=True)
class MadeTargets:
    plan: TargetPlan
    value: np.ndarray  # [B, K+1] float32
    policy: np.ndarray  # [B, K+1, A] float32; all 0 past the end


class TargetMaker:
    """Makes targets for one shard's positions, always with the agent's present weights."""

    def __init__(self, config: Config, shard: Shard, memo: TargetMemo, agent: Agent, *, shards: int):
        """shards: how many make up the replay, of which ages in transitions are counted."""
        self._config, self._shard, self._memo, self._agent = config, shard, memo, agent
        self._all_lanes = shard.lanes * shards

    def make(self, lane: np.ndarray, step: np.ndarray, *, train_step: int) -> MadeTargets:
        """All targets of a batch. lane, step: [B] int64."""
        plan = self._plan(lane, step, unroll_steps=self._config.target.unroll_steps)
        policy = self._policies(lane, plan)  # first: a search leaves the root's network value behind
        return MadeTargets(plan, self._values(lane, step, plan, train_step), policy)

    def root_values(self, lane: np.ndarray, step: np.ndarray, *, train_step: int) -> np.ndarray:
        """The value targets of the positions themselves, [B] float32."""
        plan = self._plan(lane, step, unroll_steps=0)
        return self._values(lane, step, plan, train_step)[:, 0]

    def age(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """In transitions of the whole replay, [B]. Rows for transitions: final observations count, one per game."""
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

    def _values(self, lane: np.ndarray, step: np.ndarray, plan: TargetPlan, train_step: int) -> np.ndarray:
        """Value targets, [B, K+1]."""
        searched = self._is_searched(lane, step, train_step)[:, None] & (plan.policy_step != NO_STEP)
        bootstrapped = (plan.bootstrap_step != NO_STEP) & ~searched
        lookup = self._memo.root_values if self._config.target.value == "root" else self._memo.network_values
        value = assemble_values(plan, self._looked_up(lookup, lane, plan.bootstrap_step, bootstrapped))
        if searched.any():
            value[searched] = self._looked_up(self._memo.root_values, lane, plan.policy_step, searched)[searched]
        return value

    def _is_searched(self, lane: np.ndarray, step: np.ndarray, train_step: int) -> np.ndarray:
        """Samples whose states take the searched value as target, [B] bool."""
        target, schedule = self._config.target, self._config.schedule
        if target.value != "mixed" or train_step < target.mixed_start_fraction * schedule.train_steps:
            return np.zeros(len(lane), np.bool_)
        return self.age(lane, step) > target.mixed_fresh_fraction * schedule.env_steps

    def _looked_up(self, lookup, lane: np.ndarray, steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
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
