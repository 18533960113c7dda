"""The blind twin: a policy that ignores observations and samples actions with the agent's own frequencies.

Evaluated by the same protocol. The agent's score above its twin's is due to the observations it used, not to its
mixture of actions alone.

Axes: L lanes, A actions.
"""

from types import SimpleNamespace

import numpy as np
import torch

from speedyzero.config import EnvConfig, SearchConfig
from speedyzero.evaluate.evaluator import SAMPLED, evaluate
from speedyzero.evaluate.result import EvaluationResult
from speedyzero.observe.progress import GamesProgress


class FixedPolicyPlayer:
    """Plays the same policy for every observation."""

    search_config = SearchConfig()

    def __init__(self, policy: np.ndarray):
        """policy: [A], sums to 1."""
        self._policy = torch.from_numpy(np.asarray(policy, np.float32))

    def search(self, stacked: np.ndarray, *, simulations: int, tie_seed: int) -> SimpleNamespace:
        lanes = len(stacked)
        return SimpleNamespace(
            policy=self._policy.expand(lanes, -1),
            action=self._policy.argmax().expand(lanes),
            value=torch.zeros(lanes),
        )


def blind_twin(
    seeing: EvaluationResult, env_config: EnvConfig, *, progress: GamesProgress | None = None
) -> EvaluationResult:
    """The twin's score over the agent's evaluation episodes."""
    protocol = seeing.protocol
    return evaluate(
        FixedPolicyPlayer(seeing.action_shares),
        env_config,
        episodes=protocol["episodes"],
        parallel_envs=protocol["parallel_envs"],
        seed=protocol["seed"],
        action=SAMPLED,
        progress=progress,
    )
