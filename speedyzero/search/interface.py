"""Inputs and outputs of a search.

Axes: B roots, A actions, ... a state tensor's own axes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

# A model's state: any tensors [B, ...]. Those whose key starts with PREFIX_STATE are zeroed at a prefix reset.
State = dict[str, torch.Tensor]
PREFIX_STATE = "prefix_state"


@dataclass(frozen=True)
class RootOutput:
    """The network's output for the observations to search from."""

    policy_logits: torch.Tensor  # [B, A] float32
    value: torch.Tensor  # [B] float32, decoded
    state: State


@dataclass(frozen=True)
class StepOutput:
    """The network's output one action later."""

    reward: torch.Tensor  # [B] float32, decoded: the value prefix (prefix_horizon > 0) or the plain reward
    value: torch.Tensor  # [B] float32, decoded
    policy_logits: torch.Tensor  # [B, A] float32
    state: State


# (state, action [B] int64) -> StepOutput
RecurrentFn = Callable[[State, torch.Tensor], StepOutput]


class NodeStates(Protocol):
    """A model's states of every node of every tree, at fixed addresses."""

    def write_root(self, state: State) -> None:
        """Node 0: the states [b, ...] of the first b <= B roots, and zeros for the others."""


@dataclass(frozen=True)
class StepBuffers:
    """One simulation of every root, for a model to compute without the host. All addresses are fixed."""

    nodes: NodeStates  # from `make_nodes`: read at parent_row, written at leaf
    parent_row: torch.Tensor  # [B] int64: parent's node * B + root
    action: torch.Tensor  # [B] int64
    reset: torch.Tensor  # [B] bool: the leaf keeps a prefix state of zeros
    leaf: torch.Tensor  # [1] int64: the leaf's node, of every root

    # Outputs, float32.
    reward: torch.Tensor  # [B]
    value: torch.Tensor  # [B]
    policy_logits: torch.Tensor  # [B, A]


@runtime_checkable
class StepModel(Protocol):
    """A recurrent function that can also write to given buffers.

    `step_into` must be capturable: with the same buffers it launches the same work on the same memory, whatever the
    values, and never synchronises with the host.
    """

    def __call__(self, state: State, action: torch.Tensor) -> StepOutput: ...

    def make_nodes(self, state: State, *, batch: int, num_nodes: int) -> NodeStates:
        """Memory for the states of `batch` roots. state: a root's, of any batch, for shapes and types."""

    def step_into(self, buffers: StepBuffers) -> None:
        """Compute the leaf's state, reward or value prefix, value and policy."""


@dataclass(frozen=True)
class SearchResult:
    """A search's results for each root."""

    visits: torch.Tensor  # [B, A] int32; rows sum to the number of simulations
    policy: torch.Tensor  # [B, A] float32: visit fractions (puct) or the improved policy (gumbel)
    value: torch.Tensor  # [B] float32: (root value + sum of backed-up returns) / (S + 1)
    q_values: torch.Tensor  # [B, A] float32, 0 where unvisited
    action: torch.Tensor  # [B] int64: the action to play
