"""The network for vector observations and tiny images: the same parts as EfficientZero's, of linear layers.

LayerNorm instead of batch norm, because states unrolled past an episode's end would pollute batch statistics.

Axes: B batch, S stacked frames, D features of one frame, L latent units, A actions, N bins.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.config import ModelConfig
from speedyzero.model.base import Network, Prediction, PrefixLSTM, PrefixState, Transition, ZeroLinear


def linear_layer_norm(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_features, out_features), nn.LayerNorm(out_features))


class MLPNetwork(Network):
    """[B, S*D] -> latent [B, L]; two hidden layers in representation and dynamics, one in each head."""

    norm_mixes_batch = False

    def __init__(self, config: ModelConfig, *, in_features: int, num_actions: int, prefix_horizon: int):
        super().__init__()
        self.num_actions = num_actions
        hidden, latent = config.mlp_hidden, config.mlp_latent
        self.representation = nn.Sequential(
            linear_layer_norm(in_features, hidden), nn.ReLU(), linear_layer_norm(hidden, latent)
        )
        self.dynamics_latent = nn.Linear(latent, hidden)
        self.dynamics_action = nn.Embedding(num_actions, hidden)  # the columns of a one-hot action's linear layer
        self.dynamics_norm = nn.LayerNorm(hidden)
        self.dynamics_output = nn.Linear(hidden, latent)
        self.latent_norm = nn.LayerNorm(latent)
        self.lstm = PrefixLSTM(latent, config.lstm_hidden) if prefix_horizon > 0 else None
        prefix_features = config.lstm_hidden if prefix_horizon > 0 else latent
        self.prefix_hidden = linear_layer_norm(prefix_features, config.head_hidden)
        self.prefix_output = ZeroLinear(config.head_hidden, config.prefix_codec.bins)
        self.prediction_hidden = linear_layer_norm(latent, hidden)  # shared by policy and value
        self.policy_output = ZeroLinear(hidden, num_actions)
        self.value_output = ZeroLinear(hidden, config.value_codec.bins)
        self.projector = nn.Sequential(
            linear_layer_norm(latent, config.projector_hidden),
            nn.ReLU(),
            nn.Linear(config.projector_hidden, config.projector_out),
        )
        self.predictor = nn.Sequential(
            linear_layer_norm(config.projector_out, config.predictor_hidden),
            nn.ReLU(),
            nn.Linear(config.predictor_hidden, config.projector_out),
        )

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        return self.representation(observation.flatten(1))

    def predict(self, latent: torch.Tensor) -> Prediction:
        x = F.relu(self.prediction_hidden(latent))
        return Prediction(policy_logits=self.policy_output(x), value_logits=self.value_output(x))

    def dynamics(self, latent: torch.Tensor, action: torch.Tensor, prefix_state: PrefixState) -> Transition:
        x = F.relu(self.dynamics_norm(self.dynamics_latent(latent) + self.dynamics_action(action)))
        following = self.latent_norm(latent + self.dynamics_output(x))
        features = following
        if self.lstm is not None:
            prefix_state = self.lstm(following, prefix_state)
            features = prefix_state["prefix_state_h"]
        logits = self.prefix_output(F.relu(self.prefix_hidden(features)))
        return Transition(latent=following, prefix_logits=logits, prefix_state=prefix_state)

    def project(self, latent: torch.Tensor) -> torch.Tensor:
        return self.projector(latent)

    def predict_projection(self, projection: torch.Tensor) -> torch.Tensor:
        return self.predictor(projection)

    def initial_prefix_state(self, batch_size: int) -> PrefixState:
        return self.lstm.initial_state(batch_size) if self.lstm is not None else {}
