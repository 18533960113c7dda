"""Kernels of the interpreter under a fake capture: each launch is one operation, with all that it is given."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

from tests.kernels.fake_capture import Launches


def note_launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the interpreter does on the host is hidden from the check. The names of the kernels, in order; grows."""
    from triton.runtime.interpreter import GridExecutor

    run, names = GridExecutor.__call__, []

    def noted(self, *args, **kwargs):
        names.append(self.fn.__name__)
        mode = _get_current_dispatch_mode()
        if isinstance(mode, Launches):
            mode.note(f"{self.fn.__name__}[{self.grid}]", args, kwargs)
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return run(self, *args, **kwargs)

    monkeypatch.setattr(GridExecutor, "__call__", noted)
    return names
