"""Number of CPU threads of tensor operations."""

import os

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.kind import network_kind


def threads_for(config: Config, spec: ObservationSpec) -> int:
    """`cpu_threads`; 0: all cores, but 1 for an mlp, which loses more to synchronisation than a second core gains."""
    if config.cpu_threads:
        return config.cpu_threads
    return 1 if network_kind(config, spec) == "mlp" else len(os.sched_getaffinity(0))
