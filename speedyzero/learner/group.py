"""Learners that train one network together: what they agree on and average. Over `torch.distributed`.

Each rank computes the mean loss of its own part of the batch; gradients are averaged over the ranks, so that every rank
takes the step that one learner would take with the whole batch. One flat all-reduce a step: gradients lie side by side
in memory of their own, the step's figures behind them. Batch norm uses each rank's own statistics, as the reference
does (B.8, no SyncBN); the running statistics are averaged before weights are published or saved.

    every step    agree (largest importance weight, does anybody leave?) -> loss, backward -> average_gradients
    on intervals  average_buffers

All ranks make the same calls in the same order. A rank that stops says so in `agree`, where the others can hear it; one
that dies leaves them waiting inside a call, and it is the supervisor that ends them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
from torch import nn

from speedyzero.tracing.spans import Span

_WAIT = Span("wait_group")
_NEVER = timedelta(days=30)  # the supervisor, which knows who lives, ends a group that cannot go on


@dataclass(frozen=True)
class Agreement:
    largest: float
    """Of the ranks' numbers."""
    leaving: bool
    """Whether any rank leaves: then all do."""


class Group(Protocol):
    """The ranks seen from one of them."""

    rank: int
    size: int
    waited_ns: int
    """Spent so far waiting for others to come to an agreement."""

    def adopt(self, network: nn.Module) -> None:
        """Begin with rank 0's parameters and buffers. Once, before the first step."""
        ...

    def agree(self, number: float, *, leaving: bool) -> Agreement: ...

    def zero_gradients(self) -> None: ...

    def average_gradients(self, figures: torch.Tensor) -> torch.Tensor:
        """Average the gradients in place, and the figures [F] float32, which are returned."""
        ...

    def average_buffers(self) -> None: ...


class LoneLearner:
    """A group of one."""

    rank, size, waited_ns = 0, 1, 0

    def adopt(self, network: nn.Module) -> None:
        self._network = network

    def agree(self, number: float, *, leaving: bool) -> Agreement:
        return Agreement(number, leaving)

    def zero_gradients(self) -> None:
        self._network.zero_grad(set_to_none=True)

    def average_gradients(self, figures: torch.Tensor) -> torch.Tensor:
        return figures

    def average_buffers(self) -> None:
        pass


class RankedLearner:
    """One of several ranks, each a process. Ranks need not share a host, a rank's number names no GPU."""

    def __init__(self) -> None:
        """Within an initialised process group of `torch.distributed`."""
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.waited_ns = 0

    def adopt(self, network: nn.Module) -> None:
        for tensor in (*network.parameters(), *network.buffers()):
            dist.broadcast(tensor.detach(), src=0)
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._count = sum(parameter.numel() for parameter in parameters)
        self._flat = torch.zeros(self._count + _MOST_FIGURES, device=parameters[0].device)
        offset = 0
        for parameter in parameters:
            # In the parameter's own memory order, channels last too, as backward and the optimiser want it.
            parameter.grad = self._flat.as_strided(parameter.shape, parameter.stride(), offset)
            offset += parameter.numel()
        self._buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]

    def agree(self, number: float, *, leaving: bool) -> Agreement:
        # On the host whatever the device: nobody waits for a GPU here.
        message = torch.tensor([number, float(leaving)], dtype=torch.float64)
        started_ns = time.monotonic_ns()
        with _WAIT:
            dist.all_reduce(message, dist.ReduceOp.MAX)
        self.waited_ns += time.monotonic_ns() - started_ns
        return Agreement(largest=message[0].item(), leaving=bool(message[1]))

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
"""What a rank without a batch says to `agree`."""


@contextmanager
def joined_group(rank: int, size: int, *, meeting_file: Path, device: str) -> Iterator[Group]:
    """Meet the other ranks of this host: begins when all are there. meeting_file: empty, this user's alone.

    Gloo on the CPU; on GPUs NCCL, with gloo for what lies on the host. Only the loopback interface is listened on.
    All ranks leave at the end, which ends gloo's threads: left to the interpreter's end, they abort one exit in ten.
    After an exception a rank leaves nothing, for the others may wait in a call that it does not make.
    """
    if size == 1:
        yield LoneLearner()
        return
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")
    on_gpu = torch.device(device).type == "cuda"  # its own, which is current: NCCL asks for that
    store = dist.FileStore(str(meeting_file), size)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_NEVER)
    yield RankedLearner()
    dist.destroy_process_group()
