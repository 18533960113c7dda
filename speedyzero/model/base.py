"""The interface of a network: what the learner unrolls and what inference calls.

Axes: B batch, A actions, N bins, ... a latent's own axes ([C, H, W] or [D]).
"""

from dataclasses import dataclass

import torch
from torch import nn

PrefixState = dict[str, torch.Tensor]  # "prefix_state_*": [B, L]; empty where the model returns plain rewards


@dataclass(frozen=True)
class Prediction:
    policy_logits: torch.Tensor  # [B, A]
    value_logits: torch.Tensor  # [B, N]


@dataclass(frozen=True)
class Transition:
    latent: torch.Tensor  # [B, ...]
    prefix_logits: torch.Tensor  # [B, N]: value prefix since the last reset, or the plain reward
    prefix_state: PrefixState


class Network(nn.Module):
    """Representation, dynamics and prediction of EfficientZero."""

    num_actions: int
    norm_mixes_batch: bool  # it uses batch statistics: unroll steps must not be merged into one batch
    pad_channels_to: int = 1  # on a GPU, observations may be zero-padded to a multiple of this

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        """Stacked observation in [0, 1], [B, S*C, H, W], or a vector [B, S*D] -> latent [B, ...]."""
        raise NotImplementedError

    def predict(self, latent: torch.Tensor) -> Prediction:
        raise NotImplementedError

    def dynamics(self, latent: torch.Tensor, action: torch.Tensor, prefix_state: PrefixState) -> Transition:
        """action: [B] int64."""
        raise NotImplementedError

    def project(self, latent: torch.Tensor) -> torch.Tensor:
        """SimSiam projection, [B, P]."""
        raise NotImplementedError

    def predict_projection(self, projection: torch.Tensor) -> torch.Tensor:
        """SimSiam predictor, [B, P]."""
        raise NotImplementedError

    def initial_prefix_state(self, batch_size: int) -> PrefixState:
        raise NotImplementedError


class PrefixLSTM(nn.Module):
    """The recurrent part of the value-prefix head: one LSTM step whose state is kept with the latent."""

    def __init__(self, in_features: int, hidden: int):
        super().__init__()
        self.cell = nn.LSTMCell(in_features, hidden)
        self.hidden = hidden

    def initial_state(self, batch_size: int) -> PrefixState:
        zeros = self.cell.weight_ih.new_zeros(batch_size, self.hidden)
        return {"prefix_state_h": zeros, "prefix_state_c": zeros}

    def forward(self, x: torch.Tensor, state: PrefixState) -> PrefixState:
        """x: [B, D]. The output is the new state's h."""
        h, c = self.cell(x, (state["prefix_state_h"], state["prefix_state_c"]))
        return {"prefix_state_h": h, "prefix_state_c": c}


class ZeroLinear(nn.Linear):
    """A head's output layer with zero-initialised weights and biases.

    A type of its own, so that optimisers which scale steps by weight norms recognise these layers, also in resumed
    runs.
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)  # draws random numbers, on which later layers' weights depend
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def begin_near_zero(self, slope: float) -> None:
        """Initialise to a distribution around the middle bin instead of a uniform one. slope: nats per bin."""
        bins = self.out_features
        self.bias.copy_(-slope * (torch.arange(bins) - bins // 2).abs())
