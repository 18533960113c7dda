"""How many threads tensor operations get on the CPU."""

from __future__ import annotations

import os

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.kind import network_kind


def threads_for(config: Config, spec: ObservationSpec) -> int:
    """`cpu_threads`, or 1 for an mlp: it loses more to synchronisation than it gains from a second core, most of all
    where the cores are busy."""
    if config.cpu_threads:
        return config.cpu_threads
    return 1 if network_kind(config, spec) == "mlp" else len(os.sched_getaffinity(0))
