"""The reanalyzer's step: update the shard, load the due target network, make the next batch.

    step rings -> shard, sampler      priority rings -> sampler      target slots -> target network
    shard, sampler, target network -> batch rings                    weight slots -> refreshed priorities -> sampler

Axes: E lanes, B batch.
"""

import math
from collections.abc import Sequence

import numpy as np

from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.config import Config
from speedyzero.config.placement import place
from speedyzero.model.agent import Agent
from speedyzero.nodes.share import WHOLE, Share
from speedyzero.reanalyze.ahead import AheadFiller
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.refresh import PriorityRefresh
from speedyzero.reanalyze.target_maker import TargetMaker
from speedyzero.replay.device_mirror import frame_sources
from speedyzero.replay.kept_priorities import kept_priorities
from speedyzero.replay.sampler import Sample, Sampler
from speedyzero.replay.shard import Shard
from speedyzero.system import keyed_random
from speedyzero.topology.edges import WAIT_INPUT, WAIT_SPACE, ReanalyzerEdges, Receiver
from speedyzero.topology.pacing import Pacing, record_interval
from speedyzero.topology.records import BatchRecord, MetricRecord, StepRecord
from speedyzero.topology.role_state import RoleState
from speedyzero.tracing.spans import Span

_APPEND, _PRIORITIES, _LOAD = Span("append_rows"), Span("update_priorities"), Span("load_weights")
_DRAW, _TARGETS, _REFRESH, _AHEAD = Span("draw"), Span("make_targets"), Span("refresh"), Span("search_ahead")


class Reanalyzer:
    """Owner of one shard. `step()` returns whether it made progress."""

    def __init__(
        self,
        config: Config,
        edges: ReanalyzerEdges,
        pacing: Pacing,
        agent: Agent,
        shard: Shard,
        *,
        newest: Agent | None = None,
        following: Agent | None = None,
        shard_index: int = 0,
        share: Share = WHOLE,
        first_draw: int = 0,
        log: ReplayLog | None = None,
        resumed_ticks: Sequence[int] | None = None,
    ):
        """shard: may hold rows already. shard_index: among those of its node. share: of that node. first_draw: batches
        made by predecessors. log: the shard's, if one is kept.

        resumed_ticks: by actor, records in the shard when the run was resumed and its step rings restarted.

        agent: for the target network. newest: for the newest weights, required if `refresh.enabled`. following: for the
        next target network, if its searches are done ahead.
        """
        placement = place(config)
        shards, self._batch_size = len(placement.shards), placement.part_of(config.learner.batch_size)
        self._all_shards, number = shards * share.nodes, share.number(shard_index, of=shards)
        # Shard 0 uses the seed of a single-shard run.
        seed = keyed_random.seed_for(config.seed, keyed_random.SHARD, number) if number else config.seed
        self._config, self._edges, self._pacing, self._agent = config, edges, pacing, agent
        self.shard, self.log = shard, log
        self._resumed_ticks = resumed_ticks or [0] * len(edges.steps)
        self.sampler = Sampler(shard, config.replay, seed=seed, first_draw=first_draw)
        pad = agent.pad_channels_to
        (frames,) = frame_sources(config, [shard], agent.device, dtype=agent.input_dtype, pad_channels_to=pad)
        self.memo = TargetMemo(
            shard, config.reanalyze, config.search, num_actions=agent.num_actions, seed=seed, frames=frames
        )
        self._targets = TargetMaker(config, shard, self.memo, agent, shards=shards)
        self.refresh: PriorityRefresh | None = None
        if newest is not None and config.refresh.enabled:
            self.refresh = PriorityRefresh(
                config.refresh, shard, self.sampler, self._targets, edges.weights, newest, frames=frames
            )
        self._ahead: AheadFiller | None = None
        if following is not None and config.reanalyze.memo:
            self._ahead = AheadFiller(config, shard, self.memo, self.sampler, edges.targets, following)
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
        return self._offer_batch() or moved or self._fill_ahead()

    def _take_steps(self) -> bool:
        moved = False
        for actor, queue in enumerate(self._edges.steps):
            for record in queue.drain():
                with _APPEND:
                    self._append(record, actor, queue)
                moved = True
        return moved

    def _append(self, record: StepRecord, actor: int, queue: Receiver[StepRecord]) -> None:
        epoch_before, self._epochs[actor] = self._epochs[actor], queue.epoch
        if self.shard.ticks[actor] > self._resumed_ticks[actor] + queue.consumed:
            return  # appended by a predecessor that died before freeing the record
        if epoch_before not in (0, queue.epoch):
            cut_off(self.shard, self.log, actor=actor)
        self.shard.append(record, actor=actor)
        self.sampler.follow(actor=actor)
        if self.log is not None:
            self.log.append(actor=actor)

    def _take_priorities(self) -> bool:
        moved = False
        for queue in self._edges.priorities:
            for record in queue.drain():
                with _PRIORITIES:
                    self.sampler.update(record)
                moved = True
        return moved

    def _follow_target(self) -> None:
        """At each multiple of the interval the weights of one interval earlier become the target.

        A reanalyzer that missed that snapshot (it was replaced, or the interval is shorter than the batches in flight)
        uses the newest one and is back on schedule one interval later.
        """
        interval = self._config.target_interval
        due = max(0, (self._edges.board.train_steps // interval - 1) * interval)
        record = self._edges.targets.at(
            due
        )  # every step: a snapshot is kept only if it was read while it was the newest
        if self._agent.version != due:
            if record is None and self._agent.version < due:
                record = self._edges.targets.newer_than(due)
            if record is not None:
                with _LOAD:
                    self._agent.load(record.flat, version=record.version)
                if self._ahead is not None:
                    self._ahead.switched_to(record.version)
            elif self._agent.version >= 0 and self._agent.version < due:
                raise RuntimeError(f"target weights of train step {due} were never published")

    def _offer_batch(self) -> bool:
        """Send a batch to the learner with room that has waited longest."""
        edges = self._edges
        started = self._pacing.learning_started(edges.board.env_steps) and self.sampler.size > 0
        open_queues = [queue for queue in self._turns if not queue.full]
        self.waiting_for = WAIT_INPUT if open_queues else WAIT_SPACE
        if not open_queues or not started or self._agent.version < 0:
            return False
        self._turns.remove(open_queues[0])
        self._turns.append(open_queues[0])
        with _DRAW:
            sample = self.sampler.draw(self._batch_size)
        open_queues[0].put(self.make_batch(sample))
        if self.refresh is not None:
            with _REFRESH:
                self.refresh.refresh_for(self._batch_size, train_step=edges.board.train_steps)
        if edges.board.train_steps >= self._next_record:
            self._record(edges.board.train_steps)
        return True

    def _fill_ahead(self) -> bool:
        """Search ahead when there is nothing else to do."""
        if self._ahead is None or self._agent.version < 0:
            return False
        with _AHEAD:
            return self._ahead.step(self._agent.version)

    def _record(self, train_step: int) -> None:
        self._next_record = train_step + record_interval(self._config.schedule)
        _, _, version = self.sampler.drawn_positions()
        age = np.maximum(0, train_step - version)  # the learner may be ahead of the board
        figures: dict[str, float] = {
            "reanalyzer/searches": self.memo.done_searches,
            "reanalyzer/requested_searches": self.memo.requested_searches,
            "reanalyzer/ahead_searches": self.memo.ahead_searches,
            "reanalyzer/memo_mib": self.memo.nbytes / 2**20,
            "reanalyzer/eligible_positions": self.sampler.size,
            "reanalyzer/env_steps": self._edges.board.env_steps,
        }
        if len(age):
            figures |= {
                "reanalyzer/priority_age_median": float(np.median(age)),
                "reanalyzer/priority_age_max": float(age.max()),
            }
        if self.refresh is not None:
            figures |= self.refresh.figures(version)
        for name, value in figures.items():
            if not math.isnan(value):
                self._edges.metrics.put(MetricRecord(name, train_step, float(value)))

    def make_batch(self, sample: Sample) -> BatchRecord:
        """Targets for the sampled positions, by the current target network."""
        train_step = self._edges.board.train_steps
        with _TARGETS:
            made = self._targets.make(sample.lane, sample.step, train_step=train_step)
        return BatchRecord(
            lane=sample.lane,
            step=sample.step,
            probability=sample.probability / self._all_shards,
            action=made.plan.action,
            action_mask=made.plan.action_mask,
            value_target=made.value,
            prefix_target=made.plan.prefix,
            policy_target=made.policy,
            target_version=self._agent.version,
            made_at=train_step,
        )

    def part(self) -> RoleState:
        """The checkpointable state. Syncs the log, which must exist. Raises OSError if the disk fails."""
        assert self.log is not None
        written = self.log.sync()
        version, refresh = self._agent.version, self.refresh.part() if self.refresh is not None else RoleState(None, {})
        document = {
            "rows": self.log.description(),
            "env_steps": [self.shard.env_steps_of(actor) for actor in range(self.shard.shape.actors)],
            "draws": self.sampler.draws,
            "target_version": version,
            "searches": [self.memo.requested_searches, self.memo.done_searches],
            "next_record": self._next_record,
            "refresh": refresh.document,
        }
        memo = {f"memo_{name}": array for name, array in self.memo.remembered(version).items()}
        return RoleState(document, {**kept_priorities(self.shard), **memo, **refresh.tensors}, written)

    def restore(self, part: RoleState, *, train_step: int) -> None:
        """Restore the state of a checkpoint of this train step; shard, draws and published weights are restored
        already.

        Versions are train steps: outputs of versions newer than the checkpoint are discarded, since the run reaches
        those steps again with other weights.
        """
        document, version = part.document, part.document["target_version"]
        self._follow_target()
        self.memo.requested_searches, self.memo.done_searches = document["searches"]
        self._next_record = document["next_record"]
        if 0 <= version <= train_step:
            names = [name for name in part.tensors if name.startswith("memo_")]
            self.memo.recall({name.removeprefix("memo_"): part.array(name) for name in names}, version)
        if self.refresh is not None and document["refresh"] is not None:
            self.refresh.restore(RoleState(document["refresh"], part.tensors), newest_version=train_step)


def cut_off(shard: Shard, log: ReplayLog | None, *, actor: int) -> None:
    """End the games of a dead actor, in the shard and in its log."""
    shard.cut_off(actor=actor)
    if log is not None:
        log.cut_off(actor=actor)
