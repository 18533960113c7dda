"""Mutual information between position and action under a policy, in nats.

Axes: N positions, A actions.
"""

import numpy as np


def information(policy: np.ndarray) -> float:
    """Entropy of the mean policy minus the policies' mean entropy. policy: [N, A].

    0 for a policy that is the same at every position.
    """
    return float(entropy(policy.mean(0)) - entropy(policy).mean())


def entropy(policy: np.ndarray) -> np.ndarray:
    """In nats, over the last axis."""
    return -(policy * np.log(np.maximum(policy, 1e-12))).sum(-1)
