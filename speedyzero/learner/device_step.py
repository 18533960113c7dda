"""An asynchronous update: the host launches it, the device computes the new weights without synchronisation.

    copy the batch in -> [keep -> forward -> backward] -> average over ranks -> [clip -> step -> undo?] -> send
                         '------- a CUDA graph -------'                         '---- a CUDA graph ----'
                         '---------------------- one graph, where there is one rank -----------'

The step is always computed. If a flag on the device reports a non-finite loss or gradient, parameters, optimiser state
and batch-norm buffers are restored bit for bit (`undo.py`). Bad batches therefore never affect published or saved
weights, although the host reads the flag one step later (`readback.py`). Used by `trainer.py` on GPUs, in tests also on
the CPU.

Axes: B batch, F figures.
"""

from collections.abc import Callable

import torch

from kernels.capture import Graphed
from speedyzero.learner.batch import Batch
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.loss import Loss
from speedyzero.learner.readback import Readback
from speedyzero.learner.static_batch import StaticBatch
from speedyzero.learner.undo import Undo
from speedyzero.model.base import Network


class DeviceStep:
    """One network's update. Construct it after all state is loaded: tensors are updated in place."""

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        group: LoneLearner,
        loss: Callable[[Batch], Loss],
        example: Batch,
        *,
        gradient_clip: float,
        graphed: bool,
    ):
        """loss: of the network for a batch. example: a batch with the shapes of all later ones. graphed: capture the
        step on a GPU."""
        device = example.weight.device
        self._network, self._optimizer, self._group, self._loss = network, optimizer, group, loss
        self._gradient_clip = gradient_clip
        image_dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._inputs = StaticBatch(
            example, image_dtype=image_dtype, pad_channels_to=network.pad_channels_to if device.type == "cuda" else 1
        )
        self._rate = torch.zeros((), device=device)
        for param_group in optimizer.param_groups:
            param_group["lr"] = self._rate
        make_state(optimizer)
        self._undo = Undo([*network.parameters(), *network.buffers(), *state_tensors(optimizer)])
        self._figures = torch.zeros(Loss.FIGURES, device=device)
        # Read back by the host: figures, finite flag, root values.
        self._report = torch.zeros(Loss.FIGURES + 1 + example.weight.shape[0], device=device)
        self._readback = Readback(self._report)
        stages = [self._whole] if group.size == 1 else [self._differentiate, self._apply]
        enabled = graphed and device.type == "cuda"
        self._stages = [Graphed(stage, device=device, enabled=enabled) for stage in stages]

    def launch(self, batch: Batch, *, rate: float) -> Callable[[], tuple[Loss, bool]]:
        """Launch an update. The returned function waits for its loss, on the host, and whether it was applied.

        Call that function before the second launch that follows.
        """
        self._inputs.fill(batch)
        self._rate.fill_(rate)
        self._stages[0]()
        if len(self._stages) > 1:
            self._figures.copy_(self._group.average_gradients(self._figures))
            self._stages[1]()
        receive = self._readback.send()

        def result() -> tuple[Loss, bool]:
            report = receive()
            return Loss.of_figures(report[: Loss.FIGURES], report[Loss.FIGURES + 1 :]), bool(report[Loss.FIGURES])

        return result

    def _whole(self) -> None:
        self._differentiate()
        self._group.average_gradients(self._figures)  # a group of one: unchanged
        self._apply()

    def _differentiate(self) -> None:
        """Gradients and figures of this rank's batch."""
        self._undo.keep()
        self._group.zero_gradients()
        loss = self._loss(self._inputs.batch)
        loss.total.backward()
        self._figures.copy_(loss.figures)
        self._report[Loss.FIGURES + 1 :] = loss.root_value

    def _apply(self) -> None:
        """The step, undone if not finite. The decision is the same on every rank."""
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._gradient_clip, foreach=True)
        is_finite = torch.isfinite(self._figures[0] + norm)  # the first figure is the loss
        self._optimizer.step()
        self._undo.restore_unless(is_finite)
        self._report[: Loss.FIGURES] = self._figures
        self._report[Loss.FIGURES] = is_finite


def make_state(optimizer: torch.optim.Optimizer) -> None:
    """Create the state that an optimiser allocates only in its first step, filled with zeros.

    The learning rates must be zero, so that the step made here changes no parameter.
    """
    if optimizer.state:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    for tensor in state_tensors(optimizer):
        tensor.zero_()


def state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The tensors of an optimiser's state."""
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
