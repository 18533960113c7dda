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
    reset: torch.Tensor,
    node: torch.Tensor,
    out: LSTMStep,
) -> None:
    """See the package's docstring."""
    into, keep, candidate, expose = (gates.float() + bias).chunk(4, dim=1)
    following = torch.sigmoid(keep) * c + torch.sigmoid(into) * torch.tanh(candidate)
    output = torch.sigmoid(expose) * torch.tanh(following)
    out.output.copy_(output)
    for target, state in ((out.h, output), (out.c, following)):
        kept = torch.where(reset[:, None], 0.0, state).to(target.dtype)
        target.index_copy_(0, node, kept.unsqueeze(0))
