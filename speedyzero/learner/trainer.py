"""One update of the network: unroll, loss, gradient averaged over the group, clip, step.

On the CPU an update completes before `launch` returns. On a GPU it runs asynchronously (`device_step.py`) while the
host prepares the next one; its figures are read on request.

Axes: B batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.learner.batch import Batch
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.device_step import DeviceStep
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.loss import Loss
from speedyzero.learner.optimizers import build_optimizer
from speedyzero.learner.schedule import learning_rate
from speedyzero.model.base import Network
from speedyzero.model.blocks import use_norms
from speedyzero.system.current_device import require_current
from speedyzero.tracing.spans import Span

_LOSS, _BACKWARD, _OPTIMIZER = Span("loss"), Span("backward"), Span("optimizer")


@dataclass(frozen=True)
class Update:
    """The result of an update."""

    loss: Loss  # figures are the group's; `root_value` is this rank's
    is_finite: bool
    """Whether loss and gradient were finite; if not, nothing was changed. The same on every rank."""


@dataclass(frozen=True)
class Launched:
    """A launched update."""

    learning_rate: float
    result: Callable[[], Update]
    """Waits for the update. Call it before the second launch that follows."""


class Trainer:
    """A network with its optimiser, on one rank."""

    def __init__(
        self,
        config: Config,
        network: Network,
        group: LoneLearner,
        *,
        device: torch.device,
        deferred: bool | None = None,
    ):
        """deferred: whether updates are asynchronous; None: only on a GPU.

        State may be loaded into network and optimiser before the first update, later only in place.
        """
        require_current(device)
        self._config, self._group, self._device = config, group, device
        self.deferred = device.type == "cuda" if deferred is None else deferred
        self.network = network.to(device).train()
        group.adopt(self.network)
        self.optimizer = build_optimizer(config.optimizer, self.network, capturable=self.deferred)
        self._loss = BatchLoss(config, self.network, device=device)
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # every step has the same shapes
            use_norms(self.network, config.learner.norms)
        self._step: DeviceStep | None = None

    def update(self, batch: Batch, train_step: int) -> Update:
        """One update, skipped if the loss or the gradient is not finite."""
        return self.launch(batch, train_step).result()

    def launch(self, batch: Batch, train_step: int) -> Launched:
        """Launch an update; complete on return unless deferred. batch: may be freed afterwards."""
        rate = learning_rate(self._config.optimizer, self._config.schedule, train_step)
        if self.deferred:
            return self._start(batch, rate)
        update = self._update_now(batch, rate)
        return Launched(rate, lambda: update)

    def _update_now(self, batch: Batch, rate: float) -> Update:
        for param_group in self.optimizer.param_groups:
            param_group["lr"] = rate
        self._group.zero_gradients()
        # Batch norm's, which the forward pass updates.
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        with _LOSS:
            loss = self._loss(batch)
        with _BACKWARD:
            loss.total.backward()
        loss = Loss.of_figures(self._group.average_gradients(loss.figures), loss.root_value)
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self._config.learner.gradient_clip, foreach=True
        )
        is_finite = math.isfinite((loss.total + norm).item())
        if is_finite:
            with _OPTIMIZER:
                self.optimizer.step()
        else:
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
        return Update(loss, is_finite)

    def _start(self, batch: Batch, rate: float) -> Launched:
        if self._step is None:
            self._step = DeviceStep(
                self.network,
                self.optimizer,
                self._group,
                self._loss,
                batch,
                gradient_clip=self._config.learner.gradient_clip,
                graphed=self._config.learner.cuda_graph,
            )
        finish = self._step.launch(batch, rate=rate)
        return Launched(rate, lambda: Update(*finish()))
