"""Numbers from the device that the host reads later, so that neither waits while the next step is under way.

    send(k) -> copy k is queued behind the step      send(k+1)      receipt k: by now long there

Two pinned buffers take turns: the one of step k is written again by step k+2. Called by `device_step.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

BUFFERS = 2


class Readback:
    """Copies of one device tensor on their way to the host."""

    def __init__(self, source: torch.Tensor):
        """source: what is sent each time, always the same tensor."""
        self._source, self._on_gpu = source, source.is_cuda
        self._buffers = [torch.empty(source.shape, dtype=source.dtype, pin_memory=self._on_gpu) for _ in range(BUFFERS)]
        # The waiting thread sleeps: actors want the core.
        self._arrived = [torch.cuda.Event(blocking=True) for _ in range(BUFFERS)] if self._on_gpu else []
        self._sent = 0

    def send(self) -> Callable[[], torch.Tensor]:
        """Queue a copy of the source as the work queued so far leaves it. The receipt waits for it and returns it.

        A receipt is used before the send after the next; it raises RuntimeError where it comes too late.
        """
        number, slot = self._sent, self._sent % BUFFERS
        self._sent += 1
        self._buffers[slot].copy_(self._source, non_blocking=True)
        if self._on_gpu:
            self._arrived[slot].record()

        def receive() -> torch.Tensor:
            if self._sent - number > BUFFERS:
                raise RuntimeError(f"result {number} was overwritten by result {number + BUFFERS} before it was read")
            if self._on_gpu:
                self._arrived[slot].synchronize()
            return self._buffers[slot].clone()

        return receive
