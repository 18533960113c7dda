"""Selects an operation's implementation, reference or Triton. Called by the dispatching functions."""

import os

import torch


def uses_triton(tensor: torch.Tensor, backend: str) -> bool:
    """Whether to use Triton for `tensor`. backend: auto (Triton on a GPU), reference or triton.

    Raises ValueError for any other name, and for Triton on the CPU outside its interpreter.
    """
    if backend == "auto":
        return tensor.is_cuda
    if backend not in ("reference", "triton"):
        raise ValueError(f"backend={backend}: must be auto, reference or triton")
    if backend == "triton" and not tensor.is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"backend=triton needs CUDA tensors, got {tensor.device} without TRITON_INTERPRET=1")
    return backend == "triton"
