"""The current GPU of a role's process, set before its first tensor.

Triton launches on the current device regardless of its arguments' device; events and pinned memory use it too. Code
that launches kernels checks it.
"""

import torch


def make_current(device: str) -> None:
    """Set this thread's device to cuda:N. Does nothing for the CPU and for `cuda`, the current device."""
    chosen = torch.device(device)
    if chosen.type == "cuda" and chosen.index is not None:
        torch.cuda.set_device(chosen)


def require_current(device: torch.device) -> None:
    """Raises AssertionError if kernels and events for `device` would go to another device."""
    if device.type == "cuda" and device.index is not None:
        current = torch.cuda.current_device()
        assert device.index == current, f"works on {device}, but cuda:{current} is current: see current_device.py"
