"""Where the Triton kernels run in these tests: on the GPU if there is one, else in Triton's interpreter on the CPU.

The interpreter's variable must be set before anything imports triton: the decorators read it. It has numpy do the
arithmetic, so what it can't show is tested elsewhere: that kernels compile, and into what, by `compile_all.py` in a
process without the variable; missing barriers and bf16 only on a GPU.
"""

from __future__ import annotations

import os
import sys

import pytest
import torch

from tests.kernels.fast_interpreter import patch_once

HAS_GPU = torch.cuda.device_count() > 0

if not HAS_GPU and os.environ.get("TRITON_INTERPRET") != "1":
    if "triton" in sys.modules:
        raise RuntimeError("triton was imported before TRITON_INTERPRET=1 could be set, so its kernels can't run here")
    os.environ["TRITON_INTERPRET"] = "1"
if not HAS_GPU:
    patch_once()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device on which Triton's kernels run here."""
    return torch.device("cuda" if HAS_GPU else "cpu")
