"""The reanalyzer's step: keep the shard, follow the target network, make the next batch.

    step ring -> shard, sampler        priority ring -> sampler        target slots -> target network
    shard, sampler, target network -> batch ring

Axes: E lanes, B batch, K unroll steps, A actions.
"""

from __future__ import annotations

import numpy as np

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.agent import Agent
from speedyzero.pacing import Pacing
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.targets import NO_STEP, TargetPlan, assemble_values, plan_targets, td_steps_by_age
from speedyzero.records import BatchRecord
from speedyzero.replay.sampler import Sample, Sampler
from speedyzero.replay.shard import GUARD_ROWS, Shard
from speedyzero.wiring import InlineEdges


class Reanalyzer:
    """Owner of one shard. `step()` says whether it made progress."""

    def __init__(
        self, config: Config, edges: InlineEdges, pacing: Pacing, agent: Agent, spec: ObservationSpec, num_actions: int
    ):
        self._config, self._edges, self._pacing, self._agent = config, edges, pacing, agent
        self.shard = make_shard(config, spec, num_actions)
        self.sampler = Sampler(self.shard, config.replay, seed=config.seed)
        self.memo = TargetMemo(self.shard, config.reanalyze, config.search, num_actions=num_actions, seed=config.seed)

    def step(self) -> bool:
        moved = self._take_steps() | self._take_priorities()
        self._follow_target()
        return self._offer_batch() or moved

    def _take_steps(self) -> bool:
        moved = False
        while not self._edges.steps.empty:
            self.shard.append(self._edges.steps.get())
            self.sampler.follow()
            moved = True
        return moved

    def _take_priorities(self) -> bool:
        moved = False
        while not self._edges.priorities.empty:
            self.sampler.update(self._edges.priorities.get())
            moved = True
        return moved

    def _follow_target(self) -> None:
        """At each multiple of the interval the weights of one interval ago become the target."""
        interval = self._config.target.interval_train_steps
        due = max(0, (self._edges.board.train_steps // interval - 1) * interval)
        if self._agent.version != due:
            record = self._edges.targets.at(due)
            if record is None:
                raise RuntimeError(f"target weights of train step {due} were never published")
            self._agent.load(record.flat, version=due)

    def _offer_batch(self) -> bool:
        edges = self._edges
        started = self._pacing.learning_started(edges.board.env_steps) and self.sampler.size > 0
        if edges.batches.full or not started:
            return False
        edges.batches.put(self.make_batch(self.sampler.draw(self._config.learner.batch_size)))
        return True

    def make_batch(self, sample: Sample) -> BatchRecord:
        """Targets for the sampled positions, by the current target network."""
        target = self._config.target
        plan = plan_targets(
            self.shard,
            sample.lane,
            sample.step,
            self._td_steps(sample),
            unroll_steps=target.unroll_steps,
            discount=self._config.search.discount,
            prefix_horizon=self._config.search.prefix_horizon,
        )
        policy = self._policy_targets(sample.lane, plan)  # first: a search leaves the root's network value behind
        return BatchRecord(
            lane=sample.lane,
            step=sample.step,
            probability=sample.probability,
            replay_size=self.sampler.size,
            action=plan.action,
            action_mask=plan.action_mask,
            value_target=assemble_values(plan, self._bootstrap_values(sample.lane, plan)),
            prefix_target=plan.prefix,
            policy_target=policy,
            target_version=self._agent.version,
        )

    def _td_steps(self, sample: Sample) -> np.ndarray:
        target, schedule = self._config.target, self._config.schedule
        # Rows for transitions: final observations count too, one per game.
        age = (self.shard.head[sample.lane] - sample.step) * self.shard.lanes
        return td_steps_by_age(
            age, td_steps=target.td_steps, decay_env_steps=target.td_decay_fraction * schedule.env_steps
        )

    def _bootstrap_values(self, lane: np.ndarray, plan: TargetPlan) -> np.ndarray:
        """Values at the bootstrap steps, [B, K+1]; 0 where there is none."""
        row, state = np.nonzero(plan.bootstrap_step != NO_STEP)
        lookup = self.memo.root_values if self._config.target.value == "root" else self.memo.network_values
        values = np.zeros(plan.bootstrap_step.shape, np.float32)
        values[row, state] = lookup(self._agent, lane[row], plan.bootstrap_step[row, state])
        return values

    def _policy_targets(self, lane: np.ndarray, plan: TargetPlan) -> np.ndarray:
        """Policies at the unrolled steps, [B, K+1, A]; all 0 past the end."""
        policy = np.zeros((*plan.policy_step.shape, self._agent.num_actions), np.float32)
        row, state = np.nonzero(plan.policy_step != NO_STEP)
        step = plan.policy_step[row, state]
        searched = row < int(self._config.reanalyze.policy_share * len(lane))
        policy[row[searched], state[searched]] = self.memo.policies(self._agent, lane[row[searched]], step[searched])
        kept_lane, kept_slot = lane[row[~searched]], step[~searched] % self.shard.rows
        policy[row[~searched], state[~searched]] = self.shard.visit_policy[kept_lane, kept_slot]
        return policy


def make_shard(config: Config, spec: ObservationSpec, num_actions: int) -> Shard:
    """A shard for the run: the configured capacity, but no more rows than the run can fill."""
    lanes, target = config.actor.envs, config.target
    lookahead = target.unroll_steps + target.td_steps
    wanted_rows = -(-config.replay.capacity_steps // lanes)
    # Final observations take rows of their own: allow as many again as there are env steps in the shortest games.
    fillable_rows = 2 * (-(-config.schedule.env_steps // lanes) + 1) + GUARD_ROWS + config.env.stack
    return Shard(
        lanes=lanes,
        rows=min(wanted_rows, fillable_rows),
        spec=spec,
        num_actions=num_actions,
        stack=config.env.stack,
        lookahead=lookahead,
    )
