"""The parts of a train step one by one, queued as a step queues them.

gather      stack_gather with augmentation: root and K target stacks      copy in    into the step's static memory
keep        what a bad batch must leave alone, before the step            targets    representation and projector
forward     unroll and losses                                             backward   gradients
step        clip, optimiser                                               undo       choose between old and new
"""

from __future__ import annotations

import torch

from benchmarks.gpu.learner_batches import BatchSource
from benchmarks.gpu.timing import Subject, Times, time_chain
from speedyzero.config import Config
from speedyzero.learner.batch import Batch
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.device_step import make_state, state_tensors
from speedyzero.learner.loss import Loss
from speedyzero.learner.optimizers import build_optimizer
from speedyzero.learner.static_batch import StaticBatch
from speedyzero.learner.undo import Undo
from speedyzero.model.base import Network
from speedyzero.model.blocks import PAD_CHANNELS_TO, use_norms


class Parts:
    """What `Trainer` and `DeviceStep` do, cut up."""

    def __init__(self, config: Config, network: Network, source: BatchSource, device: torch.device):
        self._source, self._clip = source, config.learner.gradient_clip
        self._network = network.to(device).train()
        if device.type == "cuda":
            use_norms(self._network, config.learner.norms)
        self._optimizer = build_optimizer(config.optimizer, self._network, capturable=True)
        rate = torch.zeros((), device=device)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        make_state(self._optimizer)
        rate.fill_(1e-3)
        tensors = [*self._network.parameters(), *self._network.buffers(), *state_tensors(self._optimizer)]
        self._undo, self._good = Undo(tensors), torch.ones((), dtype=torch.bool, device=device)
        self._loss_of = BatchLoss(config, self._network, device=device)
        self._batch: Batch = source.read(0)
        image_dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._inputs = StaticBatch(self._batch, image_dtype=image_dtype, pad_channels_to=PAD_CHANNELS_TO)
        self._projection: torch.Tensor | None = None
        self._loss: Loss | None = None

    def in_order(self) -> dict[str, Subject]:
        return {
            "gather": self._gather,
            "copy in": lambda _: self._inputs.fill(self._batch),
            "keep": lambda _: self._undo.keep(),
            "targets": self._targets,
            "forward": self._forward,
            "backward": self._backward,
            "step": self._step,
            "undo": lambda _: self._undo.restore_unless(self._good),
        }

    def _gather(self, number: int) -> None:
        self._batch = self._source.read(number)

    def _targets(self, _: int) -> None:
        self._network.zero_grad(set_to_none=True)
        self._views = self._loss_of.views(self._inputs.batch)

    def _forward(self, _: int) -> None:
        self._loss = self._loss_of.against(self._inputs.batch, self._views)

    def _backward(self, _: int) -> None:
        assert self._loss is not None
        self._loss.total.backward()
        self._loss = None

    def _step(self, _: int) -> None:
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._clip, foreach=True)
        self._optimizer.step()


def time_parts(
    config: Config, network: Network, source: BatchSource, device: torch.device, *, rounds: int
) -> dict[str, Times]:
    """Of one step, in order. network: changes."""
    parts = Parts(config, network, source, device).in_order()
    time_chain(parts, device, rounds=3)
    return time_chain(parts, device, rounds=rounds)
