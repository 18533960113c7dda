"""The learner's step: one batch, one update, new priorities, and weights for those who act.

    batch rings -> gather frames where they lie -> loss -> update -> priority rings, weight slots, target slots

A learner is one rank of a group (`group.py`), often the only one; its batch is made of equal parts, one from each shard
that it draws from. Rank 0 counts the train steps and reports; the first rank of a host publishes.

Axes: B batch, K unroll steps, S stacked frames, ... an observation's own axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.edges import WAIT_INPUT, WAIT_PACING, WAIT_SPACE, LearnerEdges
from speedyzero.learner.batch import BatchReader, join
from speedyzero.learner.group import LEAVING, Group, LoneLearner
from speedyzero.learner.loss import Loss, importance_weights
from speedyzero.learner.schedule import importance_exponent
from speedyzero.learner.trainer import Trainer
from speedyzero.model.base import Network
from speedyzero.pacing import Pacing, record_interval
from speedyzero.records import BatchRecord, MetricRecord, PriorityRecord, WeightsRecord
from speedyzero.replay.mirror_choice import frame_sources
from speedyzero.replay.sampler import MIN_PRIORITY
from speedyzero.replay.shard import Shard
from speedyzero.weights.flat import flatten

MAX_BAD_BATCHES = 10


class Learner:
    """Trains one network. `step()` says whether it made progress."""

    def __init__(
        self,
        config: Config,
        edges: LearnerEdges,
        pacing: Pacing,
        network: Network,
        shards: Sequence[Shard],
        *,
        device: str = "cpu",
        group: Group | None = None,
    ):
        """shards: of `edges.batches`, in their order. group: this learner's, which it joins; None: it is alone."""
        self._config, self._edges, self._pacing = config, edges, pacing
        self.group = group or LoneLearner()
        where = torch.device(device)
        # On a GPU the network computes in bfloat16 (`trainer.py`), so that is what it reads.
        dtype = torch.bfloat16 if where.type == "cuda" else torch.float32
        frames = frame_sources(config, shards, where, dtype=dtype)
        self._reader = BatchReader(config, frames, device=where, rank=self.group.rank)
        self._trainer = Trainer(config, network, self.group, device=where)
        self.train_step = edges.board.train_steps
        self.waiting_for = WAIT_INPUT
        self.has_left = False  # the group trains no more
        self._parts: list[BatchRecord | None] = [None] * len(shards)  # of the next batch, as they come
        self._bad_batches = 0
        self._checkpointed_step = 0
        self._record_interval = record_interval(config.schedule)
        self._publish(0)

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
        """Whether this rank counts and reports for its group."""
        return self.group.rank == 0

    def step(self) -> bool:
        edges = self._edges
        if not self._pacing.may_train(env_steps=edges.board.env_steps, train_steps=self.train_step):
            self.waiting_for = WAIT_PACING
            return False
        if any(queue.full for queue in edges.priorities):
            self.waiting_for = WAIT_SPACE
            return False
        parts = self._whole_batch()
        if parts is None:
            self.waiting_for = WAIT_INPUT
            return False
        agreement = self.group.agree(self._weights(parts, self.train_step).max(), leaving=False)
        if agreement.leaving:
            self.has_left = True
            return False
        self._parts = [None] * len(parts)
        loss = self._train(parts, self.train_step, largest_weight=agreement.largest)
        if self._bad_batches == 0:
            self._send_priorities(parts, loss)
        if self.reports:
            if self.train_step % self._record_interval == 0:
                self._record(parts, loss)
            edges.board.add_train_step()
        self.train_step += 1
        self._publish(self.train_step)
        return True

    def leave(self) -> None:
        """Tell the group, at the next step's beginning, that this rank is to end; the others end with it."""
        if not self.has_left:
            self.group.agree(LEAVING, leaving=True)
            self.has_left = True

    def _whole_batch(self) -> list[BatchRecord] | None:
        """A part from every shard, or None while one is missing. A damaged one was dropped: another will come."""
        for i, queue in enumerate(self._edges.batches):
            if self._parts[i] is None and not queue.empty:
                self._parts[i] = queue.get()
        parts = [part for part in self._parts if part is not None]
        return parts if len(parts) == len(self._parts) else None

    def due_checkpoint(self) -> int | None:
        """The train step just done, where weights are to be saved after it: on the evaluation interval, at the end.

        Each step is named once.
        """
        step, interval = self.train_step, self._config.evaluate.interval_train_steps
        is_due = step == self._config.schedule.total_train_steps or (interval > 0 and step % interval == 0)
        if not is_due or step <= self._checkpointed_step:
            return None
        self._checkpointed_step = step
        return step

    def train_on(self, batch: BatchRecord, train_step: int) -> Loss:
        """One update of a lone learner, see `_train`. batch: of the only shard."""
        return self._train([batch], train_step, largest_weight=self._weights([batch], train_step).max())

    def _train(self, parts: Sequence[BatchRecord], train_step: int, *, largest_weight: float) -> Loss:
        """One update. A batch whose loss or gradient is not finite changes nothing and is counted.

        Raises FloatingPointError after MAX_BAD_BATCHES in a row.
        """
        weight = (self._weights(parts, train_step) / largest_weight).astype(np.float32)
        batch = self._reader.read(parts, weight=weight, train_step=train_step)
        update = self._trainer.update(batch, train_step)
        if update.is_finite:
            self._bad_batches = 0
        else:
            self._count_bad_batch(train_step)
        return update.loss

    def _count_bad_batch(self, train_step: int) -> None:
        self._bad_batches += 1
        if self.reports:
            self._edges.metrics.put(MetricRecord("learner/bad_batches", train_step, float(self._bad_batches)))
        if self._bad_batches >= MAX_BAD_BATCHES:
            raise FloatingPointError(f"{self._bad_batches} batches in a row without a finite loss and gradient")

    def _weights(self, parts: Sequence[BatchRecord], train_step: int) -> np.ndarray:
        """Importance weights before they are divided by the global batch's largest, [B] float64."""
        beta = importance_exponent(self._config.replay, self._config.schedule, train_step)
        return importance_weights(join([part.probability for part in parts]), beta=beta)

    def _send_priorities(self, parts: Sequence[BatchRecord], loss: Loss) -> None:
        """Each part's new priorities to its shard."""
        root_values = np.split(loss.root_value.cpu().numpy(), len(parts))
        for queue, part, root_value in zip(self._edges.priorities, parts, root_values, strict=True):
            priority = np.abs(root_value - part.value_target[:, 0]) + MIN_PRIORITY
            queue.put(PriorityRecord(lane=part.lane, step=part.step, version=self.train_step, priority=priority))

    def _publish(self, train_steps: int) -> None:
        """Weights for the actors and snapshots for the target network, each on its interval."""
        for_actors = train_steps % self._config.learner.publish_interval_train_steps == 0
        for_targets = train_steps % self._config.target.interval_train_steps == 0
        if for_actors or for_targets:
            self.group.average_buffers()
            if self._edges.weights is None or self._edges.targets is None:
                return
            record = WeightsRecord(version=train_steps, flat=flatten(self.network))
            if for_actors:
                self._edges.weights.publish(record)
            if for_targets:
                self._edges.targets.publish(record)

    def _record(self, parts: Sequence[BatchRecord], loss: Loss) -> None:
        step = self.train_step
        figures: dict[str, SupportsFloat] = {
            "learner/loss": loss.total,
            "learner/prefix_loss": loss.prefix,
            "learner/value_loss": loss.value,
            "learner/policy_loss": loss.policy,
            "learner/consistency_loss": loss.consistency,
            "learner/predicted_root_value": loss.mean_root_value,
            "learner/learning_rate": self._trainer.learning_rate,
            "learner/batch_age": step - min(part.made_at for part in parts),
            "learner/target_lag": step - min(part.target_version for part in parts),
        }
        for name, value in figures.items():
            self._edges.metrics.put(MetricRecord(name, step, float(value)))
