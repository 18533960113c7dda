"""The learner's step: one batch, one update, new priorities, and weights for those who act.

    batch ring -> gather frames where they lie -> loss -> update -> priority ring, weight slots, target slots

Axes: B batch, K unroll steps, S stacked frames, ... an observation's own axes.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.edges import WAIT_INPUT, WAIT_PACING, WAIT_SPACE, LearnerEdges
from speedyzero.learner.augment import Augment
from speedyzero.learner.loss import Loss, Targets, importance_weights, loss_of
from speedyzero.learner.schedule import build_optimizer, importance_exponent, learning_rate
from speedyzero.learner.unroll import target_projection, unroll
from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec
from speedyzero.pacing import Pacing, record_interval
from speedyzero.records import BatchRecord, MetricRecord, PriorityRecord, WeightsRecord
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
        shard: Shard,
        *,
        device: str = "cpu",
    ):
        self._config, self._edges, self._pacing, self._shard = config, edges, pacing, shard
        self.device = torch.device(device)
        self.network = network.to(self.device).train()
        self.optimizer = build_optimizer(config.optimizer, self.network)
        self._value_codec = ScalarCodec(config.model.value_codec).to(self.device)
        self._prefix_codec = ScalarCodec(config.model.prefix_codec).to(self.device)
        self._augment = Augment(config.learner, seed=config.seed)
        self.waiting_for = WAIT_INPUT
        self._bad_batches = 0
        self._checkpointed_step = 0
        self._record_interval = record_interval(config.schedule)
        self._publish(0)

    @property
    def weights_version(self) -> int:
        return self._edges.board.train_steps

    def step(self) -> bool:
        board, edges = self._edges.board, self._edges
        if not self._pacing.may_train(env_steps=board.env_steps, train_steps=board.train_steps):
            self.waiting_for = WAIT_PACING
            return False
        if edges.batches.empty or edges.priorities.full:
            self.waiting_for = WAIT_INPUT if edges.batches.empty else WAIT_SPACE
            return False
        batch = edges.batches.get()
        if batch is None:  # damaged, dropped and counted: the next one will do
            return True
        loss = self.train_on(batch, board.train_steps)
        if self._bad_batches == 0:
            edges.priorities.put(self._priorities(batch, loss, version=board.train_steps))
        if board.train_steps % self._record_interval == 0:
            self._record(loss, board.train_steps)
        board.add_train_step()
        self._publish(board.train_steps)
        return True

    def due_checkpoint(self) -> int | None:
        """The train step just done, where weights are to be saved after it: on the evaluation interval, at the end.

        Each step is named once.
        """
        step, interval = self._edges.board.train_steps, self._config.evaluate.interval_train_steps
        is_due = step == self._config.schedule.total_train_steps or (interval > 0 and step % interval == 0)
        if not is_due or step <= self._checkpointed_step:
            return None
        self._checkpointed_step = step
        return step

    def train_on(self, batch: BatchRecord, train_step: int) -> Loss:
        """One update. A batch whose loss or gradient is not finite changes nothing and is counted.

        Raises FloatingPointError after MAX_BAD_BATCHES of them in a row.
        """
        rate = learning_rate(self._config.optimizer, self._config.schedule, train_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        statistics = [buffer.clone() for buffer in self.network.buffers()]  # batch norm's: the forward pass moves them
        loss = self._loss(batch, train_step)
        loss.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self._config.learner.gradient_clip, foreach=True
        )
        if math.isfinite((loss.total.detach() + norm).item()):
            self._bad_batches = 0
            self.optimizer.step()
        else:
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
            self._count_bad_batch(train_step)
        return loss

    def _count_bad_batch(self, train_step: int) -> None:
        self._bad_batches += 1
        self._edges.metrics.put(MetricRecord("learner/bad_batches", train_step, float(self._bad_batches)))
        if self._bad_batches >= MAX_BAD_BATCHES:
            raise FloatingPointError(f"{self._bad_batches} batches in a row without a finite loss and gradient")

    def _loss(self, batch: BatchRecord, train_step: int) -> Loss:
        config, learner = self._config, self._config.learner
        consistent = learner.consistency_coefficient > 0 and config.target.unroll_steps > 0
        window = torch.from_numpy(
            self._shard.gather_windows(batch.lane, batch.step, unroll_steps=config.target.unroll_steps)
        ).to(self.device)
        root = self._augment(window[:, : config.env.stack], train_step=train_step, view=0)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            projection = self._target_projection(window, train_step) if consistent else None
            unrolled = unroll(
                self.network,
                root,
                self._tensor(batch.action),
                prefix_horizon=config.search.prefix_horizon,
                gradient_scale=learner.dynamics_gradient_scale,
                with_projection=consistent,
            )
        beta = importance_exponent(config.replay, config.schedule, train_step)
        targets = Targets(
            action_mask=self._tensor(batch.action_mask),
            value=self._tensor(batch.value_target),
            prefix=self._tensor(batch.prefix_target),
            policy=self._tensor(batch.policy_target),
            weight=importance_weights(self._tensor(batch.probability), replay_size=batch.replay_size, beta=beta),
            projection=projection,
        )
        return loss_of(
            unrolled, targets, config=learner, value_codec=self._value_codec, prefix_codec=self._prefix_codec
        )

    def _target_projection(self, window: torch.Tensor, train_step: int) -> torch.Tensor:
        """Projections of the stacks seen after each action, [K, B, P]; one augmentation serves all of a sample's."""
        stack, unroll_steps = self._config.env.stack, self._config.target.unroll_steps
        frames = self._augment(window[:, 1:], train_step=train_step, view=1)  # [B, (S+K-1)*C, H, W]
        width = frames.shape[1] // (stack + unroll_steps - 1)  # channels (or features) of one frame
        stacks = [frames[:, j * width : (j + stack) * width] for j in range(unroll_steps)]
        return target_projection(self.network, stacks)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device)

    def _priorities(self, batch: BatchRecord, loss: Loss, *, version: int) -> PriorityRecord:
        error = np.abs(loss.root_value.cpu().numpy() - batch.value_target[:, 0])
        return PriorityRecord(lane=batch.lane, step=batch.step, version=version, priority=error + MIN_PRIORITY)

    def _publish(self, train_steps: int) -> None:
        """Weights for the actors and snapshots for the target network, each on its interval."""
        for_actors = train_steps % self._config.learner.publish_interval_train_steps == 0
        for_targets = train_steps % self._config.target.interval_train_steps == 0
        if for_actors or for_targets:
            record = WeightsRecord(version=train_steps, flat=flatten(self.network))
            if for_actors:
                self._edges.weights.publish(record)
            if for_targets:
                self._edges.targets.publish(record)

    def _record(self, loss: Loss, train_step: int) -> None:
        figures = {
            "learner/loss": loss.total.item(),
            "learner/prefix_loss": loss.prefix,
            "learner/value_loss": loss.value,
            "learner/policy_loss": loss.policy,
            "learner/consistency_loss": loss.consistency,
            "learner/predicted_root_value": loss.root_value.mean(),
            "learner/learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        for name, value in figures.items():
            self._edges.metrics.put(MetricRecord(name, train_step, float(value)))
