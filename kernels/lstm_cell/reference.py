"""lstm_pointwise in plain torch: the definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from kernels.lstm_cell import LSTMStep


def lstm_pointwise(
    gates: torch.Tensor, bias: torch.Tensor, c: torch.Tensor, reset: torch.Tensor | None, out: LSTMStep
) -> None:
    """See the package's docstring."""
    into, keep, candidate, expose = (gates.float() + bias.float()).chunk(4, dim=1)
    following = torch.sigmoid(keep) * c + torch.sigmoid(into) * torch.tanh(candidate)
    output = torch.sigmoid(expose) * torch.tanh(following)
    out.output.copy_(output)
    if reset is None:
        out.c.copy_(following)
    else:
        out.h.copy_(torch.where(reset[:, None], 0.0, output))
        out.c.copy_(torch.where(reset[:, None], 0.0, following))
