"""One update of the network: unroll, loss, gradient averaged over the group, clip, step.

Axes: B batch, K unroll steps, P projection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.learner.batch import Batch
from speedyzero.learner.group import Group
from speedyzero.learner.loss import Loss, Targets, loss_of
from speedyzero.learner.schedule import build_optimizer, learning_rate
from speedyzero.learner.unroll import target_projection, unroll
from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec


@dataclass(frozen=True)
class Update:
    """What an update found, and whether it was made."""

    loss: Loss  # figures are the group's; `root_value` is this rank's
    is_finite: bool
    """Loss and gradient: where they were not, nothing was changed. The same on every rank."""


class Trainer:
    """A network with its optimiser, on one rank."""

    def __init__(self, config: Config, network: Network, group: Group, *, device: torch.device):
        self._config, self._group, self._device = config, group, device
        self.network = network.to(device).train()
        group.adopt(self.network)
        self.optimizer = build_optimizer(config.optimizer, self.network)
        self._value_codec = ScalarCodec(config.model.value_codec).to(device)
        self._prefix_codec = ScalarCodec(config.model.prefix_codec).to(device)

    @property
    def learning_rate(self) -> float:
        """Of the last update."""
        return self.optimizer.param_groups[0]["lr"]

    def update(self, batch: Batch, train_step: int) -> Update:
        """One update, or none where the loss or the gradient is not finite."""
        rate = learning_rate(self._config.optimizer, self._config.schedule, train_step)
        for param_group in self.optimizer.param_groups:
            param_group["lr"] = rate
        self._group.zero_gradients()
        statistics = [buffer.clone() for buffer in self.network.buffers()]  # batch norm's: the forward pass moves them
        loss = self._loss(batch)
        loss.total.backward()
        loss = loss.with_figures(self._group.average_gradients(loss.figures))
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self._config.learner.gradient_clip, foreach=True
        )
        is_finite = math.isfinite((loss.total + norm).item())
        if is_finite:
            self.optimizer.step()
        else:
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
        return Update(loss, is_finite)

    def _loss(self, batch: Batch) -> Loss:
        config, learner = self._config, self._config.learner
        consistent = learner.consistency_coefficient > 0 and config.target.unroll_steps > 0
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._device.type == "cuda"):
            projection = None
            if consistent:
                projection = target_projection(self.network, list(batch.following))
            unrolled = unroll(
                self.network,
                batch.root,
                batch.action,
                prefix_horizon=config.search.prefix_horizon,
                gradient_scale=learner.dynamics_gradient_scale,
                with_projection=consistent,
            )
        targets = Targets(
            action_mask=batch.action_mask,
            value=batch.value,
            prefix=batch.prefix,
            policy=batch.policy,
            weight=batch.weight,
            projection=projection,
        )
        return loss_of(
            unrolled, targets, config=learner, value_codec=self._value_codec, prefix_codec=self._prefix_codec
        )
