"""GPU kernels recorded with torch.profiler on the spans' clock; spans as NVTX ranges.

The profiler uses a clock of its own, so a marker of known time is recorded and all events are shifted by the
difference. Not yet run on a GPU: tested with the profiler on a CPU and a made-up file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from speedyzero.tracing.trace import Kernel

_MARKER = "speedyzero.clock"
_ON_DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})


class NvtxRanges:
    """Emits every span as an NVTX range, for Nsight Systems and similar profilers."""

    def push(self, name: str) -> None:
        torch.cuda.nvtx.range_push(name)

    def pop(self) -> None:
        torch.cuda.nvtx.range_pop()


class KernelActivity:
    """Records kernels into a file that `read_kernels` reads."""

    def __init__(self, path: Path, *, device: str):
        kinds = torch.profiler.ProfilerActivity
        self._path = path
        self._profiler = torch.profiler.profile(activities=[kinds.CPU, kinds.CUDA] if device != "cpu" else [kinds.CPU])
        self._marked_ns = 0

    def begin(self) -> None:
        self._profiler.start()
        before_ns = time.monotonic_ns()
        with torch.profiler.record_function(_MARKER):
            pass
        self._marked_ns = (before_ns + time.monotonic_ns()) // 2

    def end(self) -> None:
        self._profiler.stop()
        aside = self._path.with_name(f".{self._path.name}.part")
        self._profiler.export_chrome_trace(str(aside))
        document = json.loads(aside.read_bytes())
        aside.unlink()
        kept = {"marked_ns": self._marked_ns, "traceEvents": [one for one in document["traceEvents"] if _is_kept(one)]}
        self._path.write_text(json.dumps(kept))
        os.chmod(self._path, 0o600)


def read_kernels(path: Path, begin_ns: int) -> list[Kernel]:
    """The recorded kernels, in ns since `begin_ns` (monotonic clock). Raises ValueError if the marker is missing."""
    document = json.loads(path.read_bytes())
    events = document["traceEvents"]
    marker = next((event for event in events if event["name"] == _MARKER), None)
    if marker is None:
        raise ValueError(f"{path} has no marker {_MARKER}: its clock is unknown")
    offset_ns = document["marked_ns"] - round((marker["ts"] + marker["dur"] / 2) * 1000) - begin_ns
    return [
        Kernel(
            name=event["name"],
            stream=int(event["args"].get("stream", event["tid"])),
            start_ns=round(event["ts"] * 1000) + offset_ns,
            duration_ns=round(event["dur"] * 1000),
        )
        for event in sorted(events, key=lambda event: event["ts"])
        if event["name"] != _MARKER
    ]


def _is_kept(event: dict[str, Any]) -> bool:
    return event.get("ph") == "X" and (event.get("cat") in _ON_DEVICE or event["name"] == _MARKER)
