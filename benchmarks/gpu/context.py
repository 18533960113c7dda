"""What a stage is given: the device, the time it has, and a place for what it has found so far.

Every stage runs in a process of its own, so it may hang or crash. What it kept until then is not lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.json_file import write_json
from tests.kernels.fast_interpreter import patch_once


class NoGpu(Exception):
    """torch sees no GPU, and nobody asked for a rehearsal."""


class Skip(Exception):
    """A stage can't run here; the message says why."""


@dataclass
class Context:
    """One stage's run."""

    out: Path  # for files beside the JSON
    device: torch.device
    is_rehearsal: bool
    deadline_s: float  # of `time.monotonic`: what is not done by then is left out, and said to be
    result_path: Path | None = None  # where `keep` writes; None: nowhere
    results: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(*, out: Path, is_rehearsal: bool, limit_s: float, result_path: Path | None) -> Context:
        """Raises NoGpu where a GPU is needed and there is none."""
        if not is_rehearsal and not torch.cuda.is_available():
            raise NoGpu("torch sees no GPU here; --cpu-rehearsal tries the suite itself on the CPU")
        device = torch.device("cpu" if is_rehearsal else "cuda")
        if is_rehearsal:
            torch.set_num_threads(1)
            if os.environ.get("TRITON_INTERPRET") == "1":
                patch_once()
        return Context(out, device, is_rehearsal, time.monotonic() + limit_s, result_path)

    def size(self, on_gpu: Any, in_rehearsal: Any) -> Any:
        """A size for the run at hand."""
        return in_rehearsal if self.is_rehearsal else on_gpu

    @property
    def left_s(self) -> float:
        return self.deadline_s - time.monotonic()

    def keep(self, **found: Any) -> None:
        """Add to the results and write them down, so that they outlive this process."""
        self.results.update(found)
        if self.result_path is not None:
            write_json(self.result_path, self.results)

    def all_in_time(self, cases: dict[str, Callable[[], Any]]) -> dict[str, Any]:
        """Call the cases in order while there is time, and keep names of the others as `unfinished`."""
        found: dict[str, Any] = {}
        names = list(cases)
        for name, case in cases.items():
            if self.left_s <= 0:
                self.keep(unfinished=[*self.results.get("unfinished", []), *names[len(found) :]])
                break
            found[name] = case()
        return found

    def sync(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
