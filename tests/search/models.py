"""Models for the search's tests: random, but exact, so that one row alone gives the same floats as a batch.

A state is a number below STATES; an action leads to another by modular arithmetic, and rewards, values and logits are
looked up in random tables. `prefix_state_sum` is the sum of rewards since the last reset and the value prefix its
square: not a plain sum, under which a reset forgotten everywhere would be none the worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from speedyzero.search import RootOutput, StepOutput

STATES = 1009


@dataclass(frozen=True)
class TableModel:
    reward: np.ndarray  # [STATES] float32
    value: np.ndarray  # [STATES] float32
    logits: np.ndarray  # [STATES, A] float32
    has_prefix: bool

    @staticmethod
    def random(seed: int, num_actions: int, *, has_prefix: bool, logit_scale: float = 1.0) -> TableModel:
        rng = np.random.default_rng(seed)
        return TableModel(
            reward=rng.normal(size=STATES).astype(np.float32),
            value=rng.normal(size=STATES).astype(np.float32),
            logits=(logit_scale * rng.normal(size=(STATES, num_actions))).astype(np.float32),
            has_prefix=has_prefix,
        )

    @property
    def num_actions(self) -> int:
        return self.logits.shape[1]

    def root(self, states) -> RootOutput:
        states = np.asarray(states)
        state = {"number": torch.from_numpy(states.astype(np.int64))}
        if self.has_prefix:
            state["prefix_state_sum"] = torch.zeros(len(states), 1)
        return RootOutput(torch.from_numpy(self.logits[states]), torch.from_numpy(self.value[states]), state)

    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        number = next_state(state["number"], action)
        reward = torch.from_numpy(self.reward)[number]
        new_state = {"number": number}
        if self.has_prefix:
            new_state["prefix_state_sum"] = state["prefix_state_sum"] + reward[:, None]
            reward = value_prefix(new_state["prefix_state_sum"][:, 0])
        return StepOutput(
            reward, torch.from_numpy(self.value)[number], torch.from_numpy(self.logits)[number], new_state
        )


class DeviceTables:
    """A table model whose tables lie on the device: no number crosses to the host during a search."""

    def __init__(self, model: TableModel, device: torch.device):
        self._model, self._device = model, device
        self._reward, self._value, self._logits = (
            torch.from_numpy(x).to(device) for x in (model.reward, model.value, model.logits)
        )

    def root(self, states: np.ndarray) -> RootOutput:
        number = torch.from_numpy(states.astype(np.int64)).to(self._device)
        state = {"number": number}
        if self._model.has_prefix:
            state["prefix_state_sum"] = torch.zeros(len(states), 1, device=self._device)
        return RootOutput(self._logits[number], self._value[number], state)

    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        number = next_state(state["number"], action)
        reward, new_state = self._reward[number], {"number": number}
        if self._model.has_prefix:
            new_state["prefix_state_sum"] = state["prefix_state_sum"] + reward[:, None]
            reward = value_prefix(new_state["prefix_state_sum"][:, 0])
        return StepOutput(reward, self._value[number], self._logits[number], new_state)


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
