"""One of the processes that `bench_start.py` has begin."""

import importlib
import os
import re
import time
from pathlib import Path

PRELOAD = "speedyzero.supervisor.preload"


def become_ready(folder: Path) -> None:
    """What a role does before its first step, but for the run's own; then wait to be ended."""
    importlib.import_module(PRELOAD)
    import torch

    from speedyzero.system import keyed_random

    torch.optim.AdamW(torch.nn.Linear(2, 2).parameters(), fused=True)
    keyed_random.keys(0, 0, 0)
    own = re.search(r"Private_Dirty:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text())
    assert own is not None
    (folder / f"{os.getpid()}.new").write_text(own[1])
    (folder / f"{os.getpid()}.new").rename(folder / f"{os.getpid()}.ready")
    while not (folder / "end").exists():
        time.sleep(0.02)
