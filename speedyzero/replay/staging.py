"""Asynchronous copies from host memory to a device: pinned buffers and a side stream.

    host array --(this process)--> slot --(side stream)--> tensor on the device
    slot: FREE -> filled -> COPYING -> FREE, when the event behind its copies has passed

Only a few slots are pinned: pinning the replay itself would take its memory from all other processes. On the CPU the
ring copies synchronously. Used by `device_mirror.py`.
"""

from collections.abc import Sequence

import numpy as np
import torch

Copy = tuple[torch.Tensor, torch.Tensor]  # (target on the device, source in a slot), of equal shape and type


class StagingRing:
    """Slots used in turn. Copies run in the order in which they are sent."""

    def __init__(self, device: torch.device, *, slot_bytes: int, slots: int):
        pinned = device.type == "cuda"
        self._slots = [torch.empty(slot_bytes, dtype=torch.uint8, pin_memory=pinned) for _ in range(slots)]
        self._next = 0
        self._device, self._stream = device, torch.cuda.Stream(device) if has_streams(device) else None
        if self._stream is not None:
            self._sent = [torch.cuda.Event() for _ in range(slots)]
            self._copied, self._read = self._sent[0], torch.cuda.Event()
            self.release()  # the caller's stream may still use the targets' memory for freed tensors

    def slot(self) -> torch.Tensor:
        """The next slot, [slot_bytes] uint8, the caller's until `send`. Waits for the slot's previous copies."""
        if self._stream is not None:
            self._sent[self._next].synchronize()  # returns at once for an unused slot
        return self._slots[self._next]

    def send(self, copies: Sequence[Copy]) -> None:
        """Copy from the slot taken last."""
        if self._stream is None:
            for target, source in copies:
                target.copy_(source)
        else:
            with torch.cuda.stream(self._stream):
                self._stream.wait_event(self._read)
                for target, source in copies:
                    target.copy_(source, non_blocking=True)
                self._copied = self._sent[self._next]
                self._copied.record(self._stream)
        self._next = (self._next + 1) % len(self._slots)

    def acquire(self) -> None:
        """Work that the caller queues on its stream from now on sees all copies sent so far."""
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_event(self._copied)

    def release(self) -> None:
        """Copies sent from now on wait for the work that the caller has queued on its stream, which reads the targets.

        The stream must be the same each time.
        """
        if self._stream is not None:
            self._read.record(torch.cuda.current_stream(self._device))


def has_streams(device: torch.device) -> bool:
    return device.type == "cuda"


def on_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """On a GPU an asynchronous copy, queued on the current stream; on the CPU the array itself.

    For small arrays: torch keeps the pinned memory for reuse.
    """
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
