"""How many interleavings hypothesis generates: the same in every run of the suite, new ones and more with SOAK=1."""

import os

from hypothesis import HealthCheck, Phase, settings

_SOAK = os.environ.get("SOAK") == "1"
INTERLEAVINGS = settings(
    max_examples=2000 if _SOAK else 60,
    derandomize=not _SOAK,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},  # it takes minutes here, and shrinking says enough
)
