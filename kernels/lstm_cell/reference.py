"""lstm_pointwise in plain torch: the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from kernels.lstm_cell import LSTMStep


def lstm_pointwise(
    gates: torch.Tensor,
    bias: torch.Tensor,
    c: torch.Tensor,
    reset: torch.Tensor | None,
    out: LSTMStep,
    node: torch.Tensor | None,
) -> None:
    """See the package's docstring."""
    into, keep, candidate, expose = (gates.float() + bias.float()).chunk(4, dim=1)
    following = torch.sigmoid(keep) * c + torch.sigmoid(into) * torch.tanh(candidate)
    output = torch.sigmoid(expose) * torch.tanh(following)
    out.output.copy_(output)
    kept = [(out.c, following)] if out.h is out.output else [(out.h, output), (out.c, following)]
    for target, state in kept:
        if reset is not None:
            state = torch.where(reset[:, None], 0.0, state)
        if node is None:
            target.copy_(state)
        else:
            target.index_copy_(0, node, state.to(target.dtype).unsqueeze(0))
