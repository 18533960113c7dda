"""A network's acting weights as one flat vector: what a weight slot holds.

The projector and predictor, which only the learner uses, are left out.

Axes: P all acting parameters and buffers, in the order of the state dict.
"""

import torch
from torch import nn

LEARNER_ONLY = ("projector.", "predictor.")


def acting_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that acting needs, by name; integer counters of batch norm are left out."""
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith(LEARNER_ONLY) and tensor.is_floating_point()
    }


def flatten(network: nn.Module) -> torch.Tensor:
    """A copy of the acting weights, [P] float32 on the CPU."""
    return torch.cat([tensor.detach().reshape(-1).float().cpu() for tensor in acting_tensors(network).values()])


@torch.no_grad()
def unflatten_into(network: nn.Module, flat: torch.Tensor) -> None:
    """Write flat weights, [P] float32, into a network in place. Raises ValueError where the sizes differ."""
    tensors = acting_tensors(network)
    expected = sum(tensor.numel() for tensor in tensors.values())
    if flat.numel() != expected:
        raise ValueError(f"flat weights have {flat.numel()} values, this network takes {expected}")
    offset = 0
    for tensor in tensors.values():
        tensor.copy_(flat[offset : offset + tensor.numel()].view(tensor.shape))
        offset += tensor.numel()
