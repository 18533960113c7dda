"""The reanalyzer's step: keep the shard, follow the target network, make the next batch.

    step ring -> shard, sampler        priority ring -> sampler        target slots -> target network
    shard, sampler, target network -> batch ring

Axes: E lanes, B batch, K unroll steps, A actions.
"""

from __future__ import annotations

import numpy as np

from speedyzero import keyed_random
from speedyzero.config import Config
from speedyzero.edges import WAIT_INPUT, WAIT_SPACE, ReanalyzerEdges, Receiver
from speedyzero.model.agent import Agent
from speedyzero.pacing import Pacing, record_interval
from speedyzero.placement import place
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.targets import NO_STEP, TargetPlan, assemble_values, plan_targets, td_steps_by_age
from speedyzero.records import BatchRecord, MetricRecord, StepRecord
from speedyzero.replay.sampler import Sample, Sampler
from speedyzero.replay.shard import Shard


class Reanalyzer:
    """Owner of one shard. `step()` says whether it made progress."""

    def __init__(
        self,
        config: Config,
        edges: ReanalyzerEdges,
        pacing: Pacing,
        agent: Agent,
        shard: Shard,
        *,
        shard_index: int = 0,
        first_draw: int = 0,
    ):
        """shard: with what it holds already. first_draw: batches that a predecessor made."""
        placement = place(config)
        self._shards, self._batch_size = len(placement.shards), placement.part_of(config.learner.batch_size)
        # The first shard draws as the only one would.
        seed = keyed_random.seed_for(config.seed, keyed_random.SHARD, shard_index) if shard_index else config.seed
        self._config, self._edges, self._pacing, self._agent = config, edges, pacing, agent
        self.shard = shard
        self.sampler = Sampler(shard, config.replay, seed=seed, first_draw=first_draw)
        self.memo = TargetMemo(shard, config.reanalyze, config.search, num_actions=agent.num_actions, seed=seed)
        self.waiting_for = WAIT_INPUT
        self.waited_inside_ns = 0
        self._next_record = 0
        self._turns = list(edges.batches)
        self._epochs = [queue.epoch for queue in edges.steps]

    @property
    def weights_version(self) -> int:
        return self._agent.version

    def step(self) -> bool:
        moved = self._take_steps() | self._take_priorities()
        self._follow_target()
        return self._offer_batch() or moved

    def _take_steps(self) -> bool:
        moved = False
        for actor, queue in enumerate(self._edges.steps):
            for record in queue.drain():
                self._append(record, actor, queue)
                moved = True
        return moved

    def _append(self, record: StepRecord, actor: int, queue: Receiver[StepRecord]) -> None:
        epoch_before, self._epochs[actor] = self._epochs[actor], queue.epoch
        if self.shard.ticks[actor] > queue.consumed:
            return  # a predecessor died after it appended this record and before it freed it
        if epoch_before not in (0, queue.epoch):
            self.shard.cut_off(actor=actor)
        self.shard.append(record, actor=actor)
        self.sampler.follow(actor=actor)

    def _take_priorities(self) -> bool:
        moved = False
        for queue in self._edges.priorities:
            for record in queue.drain():
                self.sampler.update(record)
                moved = True
        return moved

    def _follow_target(self) -> None:
        """At each multiple of the interval the weights of one interval ago become the target.

        A reanalyzer that missed the snapshot of that step (it was replaced, or the interval is shorter than the batches
        on their way) takes the newest there is, and is back on the schedule one interval later.
        """
        interval = self._config.target.interval_train_steps
        due = max(0, (self._edges.board.train_steps // interval - 1) * interval)
        record = self._edges.targets.at(due)  # at every step: a snapshot is kept if it was seen while it was the newest
        if self._agent.version != due:
            if record is None and self._agent.version < due:
                record = self._edges.targets.newer_than(due)
            if record is not None:
                self._agent.load(record.flat, version=record.version)
            elif self._agent.version >= 0 and self._agent.version < due:
                raise RuntimeError(f"target weights of train step {due} were never published")

    def _offer_batch(self) -> bool:
        """A batch to the first learner that has room, beginning with the one that has waited longest."""
        edges = self._edges
        started = self._pacing.learning_started(edges.board.env_steps) and self.sampler.size > 0
        open_queues = [queue for queue in self._turns if not queue.full]
        self.waiting_for = WAIT_INPUT if open_queues else WAIT_SPACE
        if not open_queues or not started or self._agent.version < 0:
            return False
        self._turns.remove(open_queues[0])
        self._turns.append(open_queues[0])
        open_queues[0].put(self.make_batch(self.sampler.draw(self._batch_size)))
        if edges.board.train_steps >= self._next_record:
            self._record(edges.board.train_steps)
        return True

    def _record(self, train_step: int) -> None:
        self._next_record = train_step + record_interval(self._config.schedule)
        figures = {
            "reanalyzer/searches": self.memo.done_searches,
            "reanalyzer/requested_searches": self.memo.requested_searches,
            "reanalyzer/eligible_positions": self.sampler.size,
            "reanalyzer/env_steps": self._edges.board.env_steps,
        }
        for name, value in figures.items():
            self._edges.metrics.put(MetricRecord(name, train_step, float(value)))

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
            probability=sample.probability / self._shards,
            action=plan.action,
            action_mask=plan.action_mask,
            value_target=assemble_values(plan, self._bootstrap_values(sample.lane, plan)),
            prefix_target=plan.prefix,
            policy_target=policy,
            target_version=self._agent.version,
            made_at=self._edges.board.train_steps,
        )

    def _td_steps(self, sample: Sample) -> np.ndarray:
        target, schedule = self._config.target, self._config.schedule
        # Rows for transitions: final observations count too, one per game.
        age = (self.shard.head[sample.lane] - sample.step) * self.shard.lanes * self._shards
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
