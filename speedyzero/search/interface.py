"""What goes into a search and what comes out.

Axes: B roots, A actions, ... a state tensor's own axes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

# A model's state: any tensors [B, ...]. Those whose key starts with PREFIX_STATE are zeroed at a prefix reset.
State = dict[str, torch.Tensor]
PREFIX_STATE = "prefix_state"


@dataclass(frozen=True)
class RootOutput:
    """The network on the observations to search from."""

    policy_logits: torch.Tensor  # [B, A] float32
    value: torch.Tensor  # [B] float32, decoded
    state: State


@dataclass(frozen=True)
class StepOutput:
    """The network one action further."""

    reward: torch.Tensor  # [B] float32, decoded: the value prefix (prefix_horizon > 0) or the plain reward
    value: torch.Tensor  # [B] float32, decoded
    policy_logits: torch.Tensor  # [B, A] float32
    state: State


# (state, action [B] int64) -> StepOutput
RecurrentFn = Callable[[State, torch.Tensor], StepOutput]


@dataclass(frozen=True)
class SearchResult:
    """What a search found out about each root."""

    visits: torch.Tensor  # [B, A] int32; rows sum to the number of simulations
    policy: torch.Tensor  # [B, A] float32: visit fractions (puct) or the improved policy (gumbel)
    value: torch.Tensor  # [B] float32: (root value + sum of backed-up returns) / (S + 1)
    q_values: torch.Tensor  # [B, A] float32, 0 where unvisited
    action: torch.Tensor  # [B] int64: the action to play
