"""Data-parallel training of one network over `torch.distributed`.

Each rank computes the mean loss of its share of the batch; gradients are averaged, so every rank takes the step that
one learner would take on the whole batch. One all-reduce per step covers the contiguous gradients and, behind them, the
step's figures. Batch norm uses each rank's own statistics, as the reference does (B.8, no SyncBN); running statistics
are averaged before weights are published or saved.

    every step    agree (largest importance weight, is any rank leaving, does rank 0 save?) -> loss, backward
                  -> average_gradients
    on intervals  average_buffers

All ranks make the same calls in the same order. A rank that stops announces it in `agree`. If a rank dies, the others
block in a call until the supervisor ends them. The ranks of several nodes find one another through the store of node
0's supervisor, those of one host through a file.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from speedyzero.nodes.launch import ALONE, Launch
from speedyzero.nodes.meeting import open_store
from speedyzero.tracing.spans import Span

_WAIT = Span("wait_group")
_NEVER = timedelta(days=30)  # the supervisor detects dead ranks and ends the group


@dataclass(frozen=True)
class Agreement:
    largest: float
    """The maximum of the ranks' numbers."""
    leaving: bool
    """Whether any rank is leaving; then all leave."""
    saving: bool = False
    """Whether a checkpoint is saved after this step."""


class LoneLearner:
    """A data-parallel group of one, and the interface of larger ones, as seen by one rank."""

    rank, size = 0, 1
    first_on_node = True
    """Whether this is the rank that counts, reports and publishes for its node."""
    waited_ns = 0
    """Total time spent waiting in `agree`."""

    def adopt(self, network: nn.Module) -> None:
        """Broadcast rank 0's parameters and buffers. Called once, before the first step."""
        self._network = network

    def agree(self, number: float, *, leaving: bool, saving: bool = False) -> Agreement:
        return Agreement(number, leaving, saving)

    def zero_gradients(self) -> None:
        self._network.zero_grad(set_to_none=True)

    def average_gradients(self, figures: torch.Tensor) -> torch.Tensor:
        """Average the gradients in place, and the figures [F] float32, which are returned."""
        return figures

    def average_buffers(self) -> None:
        """Average batch norm's running statistics in place."""


class RankedLearner(LoneLearner):
    """One rank, in a process of its own. Ranks may be on different hosts; rank numbers are not GPU numbers."""

    def __init__(self, *, first_on_node: bool, on_wait: Callable[[bool], None] = lambda _: None) -> None:
        """Requires an initialised process group of `torch.distributed`. on_wait: as for `joined_group`."""
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.first_on_node, self._on_wait = first_on_node, on_wait
        self.waited_ns = 0

    def adopt(self, network: nn.Module) -> None:
        for tensor in (*network.parameters(), *network.buffers()):
            dist.broadcast(tensor.detach(), src=0)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._count = sum(parameter.numel() for parameter in parameters)
        self._flat = torch.zeros(self._count + _MOST_FIGURES, device=parameters[0].device)
        offset = 0
        for parameter in parameters:
            # With the parameter's strides, as backward and the optimiser expect.
            parameter.grad = self._flat.as_strided(parameter.shape, parameter.stride(), offset)
            offset += parameter.numel()
        self._buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]

    def agree(self, number: float, *, leaving: bool, saving: bool = False) -> Agreement:
        # On the host whatever the device, so this does not synchronise with a GPU.
        message = torch.tensor([number, float(leaving), float(saving)], dtype=torch.float64)
        started_ns = time.monotonic_ns()
        self._on_wait(True)
        with _WAIT:
            dist.all_reduce(message, dist.ReduceOp.MAX)
        self._on_wait(False)
        self.waited_ns += time.monotonic_ns() - started_ns
        return Agreement(largest=message[0].item(), leaving=bool(message[1]), saving=bool(message[2]))

    def zero_gradients(self) -> None:
        self._flat.zero_()

    def average_gradients(self, figures: torch.Tensor) -> torch.Tensor:
        end = self._count + len(figures)
        self._flat[self._count : end] = figures
        dist.all_reduce(self._flat[:end])
        self._flat[:end] /= self.size
        return self._flat[self._count : end].clone()

    def average_buffers(self) -> None:
        if not self._buffers:
            return
        flat = torch.cat([buffer.flatten() for buffer in self._buffers])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([buffer.numel() for buffer in self._buffers])
        for buffer, part in zip(self._buffers, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


_MOST_FIGURES = 16

LEAVING = -math.inf
"""The number that a rank without a batch passes to `agree`."""


@contextmanager
def joined_group(
    local_rank: int,
    local_size: int,
    *,
    meeting_file: Path,
    device: str,
    launch: Launch = ALONE,
    on_wait: Callable[[bool], None] = lambda _: None,
) -> Iterator[LoneLearner]:
    """Join the process group of the run; starts when all ranks have joined. meeting_file: empty, owned by this user.

    local_rank, local_size: on this node. on_wait: called with True before this rank waits for the others to join or to
    agree, and with False after.

    Gloo on the CPU; on GPUs NCCL, with gloo for host tensors. Without other nodes it listens on the loopback interface
    only. On normal exit all ranks leave, which stops gloo's threads: otherwise they abort one interpreter exit in ten.
    After an exception a rank does not leave: the others may be blocked in a call that it never makes.
    """
    share = launch.share
    rank, size = share.number(local_rank, of=local_size), local_size * share.nodes
    if size == 1:
        yield LoneLearner()
        return
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", launch.interface)
    on_gpu = torch.device(device).type == "cuda"  # its own, set as the current device: NCCL requires that
    on_wait(True)
    store = dist.FileStore(str(meeting_file), size) if share.nodes == 1 else open_store(launch)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_NEVER)
    on_wait(False)
    yield RankedLearner(first_on_node=local_rank == 0, on_wait=on_wait)
    dist.destroy_process_group()
