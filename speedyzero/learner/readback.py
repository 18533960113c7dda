"""Asynchronous copies of device results to the host, read one step later.

    send(k) -> copy k is queued behind the step      send(k+1)      receive k: usually complete

Two pinned buffers alternate: step k+2 overwrites the buffer of step k. Called by `device_step.py`.
"""

from collections.abc import Callable

import torch

BUFFERS = 2


class Readback:
    """Asynchronous copies of one device tensor."""

    def __init__(self, source: torch.Tensor):
        """source: the tensor that every `send` copies."""
        self._source, self._on_gpu = source, source.is_cuda
        self._buffers = [torch.empty(source.shape, dtype=source.dtype, pin_memory=self._on_gpu) for _ in range(BUFFERS)]
        # The waiting thread sleeps and leaves the core to actors.
        self._arrived = [torch.cuda.Event(blocking=True) for _ in range(BUFFERS)] if self._on_gpu else []
        self._sent = 0

    def send(self) -> Callable[[], torch.Tensor]:
        """Queue a copy of the source behind the work queued so far. The returned function waits for the copy.

        Call that function before the second `send` that follows; later it raises RuntimeError.
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
