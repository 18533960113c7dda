"""The GPU that a process works on, made current before its first tensor.

Triton launches on the current device, wherever its arguments lie; events are recorded and memory is pinned there, too.
Called where a role's process begins; whoever launches checks.
"""

from __future__ import annotations

import torch


def make_current(device: str) -> None:
    """Of this thread: cuda:N. Nothing for the CPU, and for `cuda`, which is the device that is current."""
    chosen = torch.device(device)
    if chosen.type == "cuda" and chosen.index is not None:
        torch.cuda.set_device(chosen)


def require_current(device: torch.device) -> None:
    """Raises AssertionError where kernels and events for `device` would go to another."""
    if device.type == "cuda" and device.index is not None:
        current = torch.cuda.current_device()
        assert device.index == current, f"works on {device}, but cuda:{current} is current: see current_device.py"
