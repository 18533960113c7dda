"""Models for the search's tests: random, but exact, so that one row alone gives the same floats as a batch.

A state is a number below STATES; an action leads to another by modular arithmetic, and rewards, values and logits are
looked up in random tables. `prefix_state_sum` is the sum of rewards since the last reset and the value prefix its
square: not a plain sum, under which a reset forgotten everywhere would be none the worse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from speedyzero.search import RootOutput, SearchResult, StepOutput

STATES = 1009


@dataclass(frozen=True)
class TableModel:
    reward: np.ndarray  # [STATES] float32
    value: np.ndarray  # [STATES] float32
    logits: np.ndarray  # [STATES, A] float32
    has_prefix: bool
    device: torch.device = torch.device("cpu")

    @staticmethod
    def random(seed: int, num_actions: int, *, has_prefix: bool, logit_scale: float = 1.0) -> TableModel:
        rng = np.random.default_rng(seed)
        return TableModel(
            reward=rng.normal(size=STATES).astype(np.float32),
            value=rng.normal(size=STATES).astype(np.float32),
            logits=(logit_scale * rng.normal(size=(STATES, num_actions))).astype(np.float32),
            has_prefix=has_prefix,
        )

    def on(self, device: torch.device) -> TableModel:
        """With tables that lie there: no number crosses to the host during a search."""
        return replace(self, device=device)

    @property
    def num_actions(self) -> int:
        return self.logits.shape[1]

    @cached_property
    def tables(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Reward, value and logits on the device."""
        reward, value, logits = (torch.from_numpy(x).to(self.device) for x in (self.reward, self.value, self.logits))
        return reward, value, logits

    def root(self, states) -> RootOutput:
        number = torch.from_numpy(np.asarray(states).astype(np.int64)).to(self.device)
        state = {"number": number}
        if self.has_prefix:
            state["prefix_state_sum"] = torch.zeros(len(states), 1, device=self.device)
        _, value, logits = self.tables
        return RootOutput(logits[number], value[number], state)

    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        rewards, value, logits = self.tables
        number = next_state(state["number"], action)
        reward, new_state = rewards[number], {"number": number}
        if self.has_prefix:
            new_state["prefix_state_sum"] = state["prefix_state_sum"] + reward[:, None]
            reward = value_prefix(new_state["prefix_state_sum"][:, 0])
        return StepOutput(reward, value[number], logits[number], new_state)


def next_state(number, action):
    """Works on Python integers and on tensors."""
    return (number * 31 + action * 17 + 5) % STATES


def value_prefix(reward_sum):
    """Works on float32 numbers and on tensors."""
    return reward_sum * reward_sum


def root_states(seed: int, batch: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, STATES, batch)


def dirichlet(seed: int, batch: int, num_actions: int, alpha: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(num_actions, alpha), size=batch).astype(np.float32)


def gumbel(seed: int, batch: int, num_actions: int) -> np.ndarray:
    return np.random.default_rng(seed).gumbel(size=(batch, num_actions)).astype(np.float32)


def assert_same_search(found: SearchResult, expected: SearchResult) -> None:
    """Of two backends: visits and actions exactly, values within 1e-5."""
    assert torch.equal(found.visits.cpu(), expected.visits)
    assert torch.equal(found.action.cpu(), expected.action)
    for name in ("policy", "value", "q_values"):
        torch.testing.assert_close(getattr(found, name).cpu(), getattr(expected, name), atol=1e-5, rtol=0)
