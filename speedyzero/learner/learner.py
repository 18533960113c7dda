"""The learner's step: one batch, one update, new priorities, published weights.

    batch rings -> gather frames -> loss -> update -> priority rings, weight slots, target slots

On a GPU updates are asynchronous: the result of update k is processed after update k+1 is launched, or when none can be
launched, so the host prepares batch k+1 while the GPU computes update k. Bad batches are therefore counted one step
late, and a run that ends because of them launches one more update; the device itself discards bad updates
(`device_step.py`).

A learner is one rank of a group (`group.py`), often the only one. Its batch has equal parts, one from each shard that
it draws from. The first rank of a node counts the train steps there, reports and publishes.

Axes: B batch, K unroll steps, S stacked frames, ... an observation's own axes.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.learner.batch import BatchReader, join
from speedyzero.learner.clipped_lars import ClippedLARS, trust_ratio_figures
from speedyzero.learner.group import LEAVING, LoneLearner
from speedyzero.learner.loss import Loss, importance_weights
from speedyzero.learner.publisher import Publisher
from speedyzero.learner.schedule import importance_exponent
from speedyzero.learner.state import LearnerState
from speedyzero.learner.trainer import Launched, Trainer, Update
from speedyzero.model.base import Network
from speedyzero.replay.device_mirror import frame_sources
from speedyzero.replay.sampler import MIN_PRIORITY
from speedyzero.replay.shard import Shard
from speedyzero.topology.edges import WAIT_INPUT, WAIT_PACING, WAIT_SPACE, LearnerEdges
from speedyzero.topology.pacing import Pacing, record_interval
from speedyzero.topology.records import BatchRecord, MetricRecord, PriorityRecord
from speedyzero.tracing.spans import Span

MAX_BAD_BATCHES = 10
_GATHER, _UPDATE, _SETTLE = Span("gather_frames"), Span("update"), Span("settle")


@dataclass(frozen=True)
class _UnderWay:
    """A launched update, with what is needed to process its result."""

    parts: Sequence[BatchRecord]
    train_step: int
    launched: Launched


class Learner:
    """Trains one network. `step()` returns whether it made progress."""

    def __init__(
        self,
        config: Config,
        edges: LearnerEdges,
        pacing: Pacing,
        network: Network,
        shards: Sequence[Shard],
        *,
        device: str = "cpu",
        group: LoneLearner | None = None,
        deferred: bool | None = None,
        state: LearnerState | None = None,
    ):
        """shards: in the order of `edges.batches`. group: None for a single learner. deferred: see `Trainer`. state: to
        resume from; the board must hold its train step.

        Raises ValueError if the state does not fit.
        """
        self._config, self._edges, self._pacing = config, edges, pacing
        self.group = group or LoneLearner()
        where = torch.device(device)
        # On a GPU the network computes in bfloat16 (`batch_loss.py`).
        dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
        frames = frame_sources(config, shards, where, dtype=dtype, pad_channels_to=network.pad_channels_to)
        self._reader = BatchReader(config, frames, device=where, rank=self.group.rank)
        self._trainer = Trainer(config, network, self.group, device=where, deferred=deferred)
        self._under_way: deque[_UnderWay] = deque()
        self.train_step = edges.board.train_steps
        self.waiting_for = WAIT_INPUT
        self.has_left = False  # the group has stopped training
        self.asks_to_save = self.is_to_save = False  # set by rank 0 before a step; on all ranks after it
        self._parts: list[BatchRecord | None] = [None] * len(shards)  # of the next batch, as they arrive
        self._bad_batches = 0
        self._checkpointed_step = 0
        self._record_interval = record_interval(config.schedule)
        self._publisher = Publisher(config, edges, self.network, self.group)
        if state is None:
            self._publisher.publish(0)
        else:
            self._resume(state)

    @property
    def network(self) -> Network:
        return self._trainer.network

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self._trainer.optimizer

    @property
    def weights_version(self) -> int:
        return self.train_step

    @property
    def waited_inside_ns(self) -> int:
        return self.group.waited_ns

    @property
    def reports(self) -> bool:
        """Whether this rank counts and reports for its node."""
        return self.group.first_on_node

    def state(self) -> LearnerState:
        """The checkpointable state, between steps; buffers must have been averaged over the group.

        Finishes updates in progress. Their priorities are dropped if a ring is full: the positions keep older ones.
        """
        while self._under_way:
            self._finish(self._under_way.popleft())
        return LearnerState(
            train_step=self.train_step,
            bad_batches=self._bad_batches,
            weights=self.network.state_dict(),
            optimizer=self.optimizer.state_dict()["state"],
            optimizer_kind=type(self.optimizer).__name__,
            published=self._publisher.published,
        )

    def _resume(self, state: LearnerState) -> None:
        assert state.train_step == self.train_step, f"state of step {state.train_step}, board at {self.train_step}"
        state.load_into(self.network, self.optimizer)
        self._bad_batches, self._checkpointed_step = state.bad_batches, state.train_step
        self._publisher.publish_again(state.published)

    def step(self) -> bool:
        """Launch an update or, if none can be launched, process the result of a launched one."""
        return self._update() or self._settle_one()

    def _update(self) -> bool:
        edges = self._edges
        if not self._pacing.may_train(env_steps=edges.board.env_steps, train_steps=self.train_step):
            self.waiting_for = WAIT_PACING
            return False
        if any(queue.full for queue in edges.priorities):
            self.waiting_for = WAIT_SPACE
            return False
        is_last = self.train_step + 1 == self._config.schedule.total_train_steps
        if is_last and self._under_way:
            return False  # settle that first: no update is pending at the end
        parts = self._whole_batch()
        if parts is None:
            self.waiting_for = WAIT_INPUT
            return False
        largest = self._weights(parts, self.train_step).max()
        agreement = self.group.agree(largest, leaving=False, saving=self.asks_to_save)
        if agreement.leaving:
            self.has_left = True
            return False
        self.asks_to_save, self.is_to_save = False, agreement.saving
        self._parts = [None] * len(parts)
        self._under_way.append(self._launch(parts, self.train_step, largest_weight=agreement.largest))
        if is_last or not self._trainer.deferred or len(self._under_way) > 1:
            self._settle_one()
        if self.reports:
            edges.board.add_train_step()
        self.train_step += 1
        self._publisher.publish(self.train_step)
        return True

    def leave(self) -> None:
        """Announce to the group, in place of the next step, that this rank stops; the others stop with it."""
        if not self.has_left:
            self.group.agree(LEAVING, leaving=True)
            self.has_left = True

    def _whole_batch(self) -> list[BatchRecord] | None:
        """One record from every shard, or None while one is missing. Damaged records were dropped; others follow."""
        for i, queue in enumerate(self._edges.batches):
            if self._parts[i] is None and not queue.empty:
                self._parts[i] = queue.get()
        parts = [part for part in self._parts if part is not None]
        return parts if len(parts) == len(self._parts) else None

    def due_checkpoint(self) -> int | None:
        """The step just completed if its weights are to be saved: on the evaluation interval and at the end.

        Each step is returned once.
        """
        step, interval = self.train_step, self._config.evaluate.interval_train_steps
        is_due = step == self._config.schedule.total_train_steps or (interval > 0 and step % interval == 0)
        if not is_due or step <= self._checkpointed_step:
            return None
        self._checkpointed_step = step
        return step

    def train_on(self, batch: BatchRecord, train_step: int) -> Loss:
        """One update of a single learner with one shard. Raises as `_outcome` does."""
        largest_weight = self._weights([batch], train_step).max()
        return self._outcome(self._launch([batch], train_step, largest_weight=largest_weight)).loss

    def _launch(self, parts: Sequence[BatchRecord], train_step: int, *, largest_weight: float) -> _UnderWay:
        weight = (self._weights(parts, train_step) / largest_weight).astype(np.float32)
        with _GATHER:
            batch = self._reader.read(parts, weight=weight, train_step=train_step)
        with _UPDATE:
            return _UnderWay(parts, train_step, self._trainer.launch(batch, train_step))

    def _settle_one(self) -> bool:
        """Process the oldest launched update, if there is one and room for its priorities."""
        if not self._under_way or any(queue.full for queue in self._edges.priorities):
            return False
        with _SETTLE:
            self._finish(self._under_way.popleft())
        return True

    def _finish(self, done: _UnderWay) -> None:
        update = self._outcome(done)
        if update.is_finite and not any(queue.full for queue in self._edges.priorities):
            self._send_priorities(done, update.loss)
        if self.reports and done.train_step % self._record_interval == 0:
            self._record(done, update.loss)

    def _outcome(self, done: _UnderWay) -> Update:
        """The result of an update. A batch with a non-finite loss or gradient changed nothing and is counted.

        Raises FloatingPointError after MAX_BAD_BATCHES in a row.
        """
        update = done.launched.result()
        if update.is_finite:
            self._bad_batches = 0
        else:
            self._count_bad_batch(done.train_step)
        return update

    def _count_bad_batch(self, train_step: int) -> None:
        self._bad_batches += 1
        if self.reports:
            self._edges.metrics.put(MetricRecord("learner/bad_batches", train_step, float(self._bad_batches)))
        if self._bad_batches >= MAX_BAD_BATCHES:
            raise FloatingPointError(f"{self._bad_batches} batches in a row without a finite loss and gradient")

    def _weights(self, parts: Sequence[BatchRecord], train_step: int) -> np.ndarray:
        """Importance weights before division by the global batch's largest, [B] float64."""
        beta = importance_exponent(self._config.replay, self._config.schedule, train_step)
        return importance_weights(join([part.probability for part in parts]), beta=beta)

    def _send_priorities(self, done: _UnderWay, loss: Loss) -> None:
        """Send each record's new priorities to its shard."""
        root_values = np.split(loss.root_value.cpu().numpy(), len(done.parts))
        for queue, part, root_value in zip(self._edges.priorities, done.parts, root_values, strict=True):
            priority = np.abs(root_value - part.value_target[:, 0]) + MIN_PRIORITY
            queue.put(PriorityRecord(lane=part.lane, step=part.step, version=done.train_step, priority=priority))

    def _record(self, done: _UnderWay, loss: Loss) -> None:
        figures: dict[str, SupportsFloat] = {
            "learner/loss": loss.total,
            "learner/prefix_loss": loss.prefix,
            "learner/value_loss": loss.value,
            "learner/policy_loss": loss.policy,
            "learner/consistency_loss": loss.consistency,
            "learner/predicted_root_value": loss.mean_root_value,
            "learner/policy_entropy": loss.policy_entropy,
            "learner/target_policy_entropy": loss.target_policy_entropy,
            "learner/policy_information": loss.policy_information,
            "learner/projection_similarity": loss.projection_similarity,
            "learner/value_entropy": loss.value_entropy,
            "learner/learning_rate": done.launched.learning_rate,
            "learner/batch_age": done.train_step - min(part.made_at for part in done.parts),
            "learner/target_lag": done.train_step - min(part.target_version for part in done.parts),
        }
        optimizer = self._trainer.optimizer
        # Of the newest update: on a GPU one step later than the rest. Synchronises, but only on this interval.
        if isinstance(optimizer, ClippedLARS) and (ratios := optimizer.trust_ratios_by_layer()):
            figures |= trust_ratio_figures(ratios)
        for name, value in figures.items():
            self._edges.metrics.put(MetricRecord(name, done.train_step, float(value)))
