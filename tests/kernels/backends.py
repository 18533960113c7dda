"""The backends of an operation, and which of them ran."""

from __future__ import annotations

import importlib

import pytest
import torch

BACKENDS = ("reference", "triton")  # of the network's operations
TREE_BACKENDS = ("reference", "numba")  # of the tree's on the CPU; Triton's are compared with them
BF16_BACKENDS = (
    "reference",
    pytest.param(
        "triton", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="Triton's interpreter has no bf16")
    ),
)


class _WatchedKernel:
    """A jit function that notes its launches."""

    def __init__(self, kernel, seen: list[str]):
        self._kernel, self._seen = kernel, seen

    def __getitem__(self, grid):
        self._seen.append("triton")
        return self._kernel[grid]


def watch(monkeypatch: pytest.MonkeyPatch, package: str, *, reference: str, kernel: str) -> list[str]:
    """What has run so far, "reference" or "triton", in order; grows as it runs.

    reference: the function of `package`.reference; kernel: the jit function of `package`.triton_gpu.
    """
    seen: list[str] = []
    torch_form = importlib.import_module(f"{package}.reference")
    triton_form = importlib.import_module(f"{package}.triton_gpu")
    defined, launched = getattr(torch_form, reference), getattr(triton_form, kernel)

    def watched(*args, **kwargs):
        seen.append("reference")
        return defined(*args, **kwargs)

    monkeypatch.setattr(torch_form, reference, watched)
    monkeypatch.setattr(triton_form, kernel, _WatchedKernel(launched, seen))
    return seen
