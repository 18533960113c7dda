"""A learner's checkpointable state: the role states "learner" and "published".

Schedules and random draws are functions of the train step and need no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speedyzero.checkpoint.optimizer_state import State, pack_optimizer, unpack_optimizer
from speedyzero.checkpoint.published import PART as PUBLISHED_PART
from speedyzero.checkpoint.published import Published
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.topology.role_state import RoleState

PART = "learner"


@dataclass(frozen=True)
class LearnerState:
    """Tensors may be the learner's own, not copies."""

    train_step: int
    bad_batches: int  # in a row
    weights: Mapping[str, Tensor]  # the network's state
    optimizer: State
    optimizer_kind: str
    published: Published

    def parts(self) -> dict[str, RoleState]:
        """Role states by name, without the weights, which have their own file."""
        document = {
            "train_step": self.train_step,
            "bad_batches": self.bad_batches,
            "optimizer_kind": self.optimizer_kind,
        }
        return {PART: RoleState(document, pack_optimizer(self.optimizer)), PUBLISHED_PART: self.published.part()}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> LearnerState:
        """Raises ValueError if these role states are missing or malformed."""
        part = checkpoint.part(PART)
        try:
            tensors = {name: torch.as_tensor(tensor) for name, tensor in part.tensors.items()}
            return cls(
                train_step=part.document["train_step"],
                bad_batches=part.document["bad_batches"],
                weights=checkpoint.tensors("weights"),
                optimizer_kind=part.document["optimizer_kind"],
                optimizer=unpack_optimizer(tensors),
                published=Published.of(checkpoint),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {checkpoint.directory}: not a learner's state: {error}") from error

    def load_into(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Load this state. The optimiser keeps its own settings, including learning rates: the configuration's.

        Raises ValueError if the state does not fit.
        """
        if self.optimizer_kind != type(optimizer).__name__:
            raise ValueError(f"the state belongs to {self.optimizer_kind}, this run uses {type(optimizer).__name__}")
        load_weights_into(network, self.weights)
        own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
        try:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": dict(self.optimizer), "param_groups": groups})
        except (KeyError, ValueError) as error:
            raise ValueError(f"the optimiser's state does not fit this run's optimiser: {error}") from error
        for group, settings in zip(optimizer.param_groups, own, strict=True):
            group.update(settings)
        _lay_out_as_parameters(optimizer)


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give moments the strides of their parameters, which files do not preserve.

    A fused step pairs elements by memory offset: with other strides, moments would apply to the wrong weights.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def load_weights_into(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raises a one-line ValueError if the weights are of another network."""
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit this run's network: {str(error).splitlines()[-1].strip()}") from error
