"""What a policy knows of positions, in nats.

Axes: N positions, A actions.
"""

from __future__ import annotations

import numpy as np


def information(policy: np.ndarray) -> float:
    """Nats by which the mean policy is less certain than the policies are in the mean. policy: [N, A].

    0 for a policy that is the same everywhere, whatever it is.
    """
    return float(entropy(policy.mean(0)) - entropy(policy).mean())


def entropy(policy: np.ndarray) -> np.ndarray:
    """In nats, over the last axis."""
    return -(policy * np.log(np.maximum(policy, 1e-12))).sum(-1)
