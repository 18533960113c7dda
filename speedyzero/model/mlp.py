"""Networks whose latent is a vector: dynamics, heads and projector of linear layers, behind any representation.

For vector observations and tiny images the representation is linear layers, too; for larger images `nature_cnn.py`.
LayerNorm instead of batch norm, because states unrolled past an episode's end would pollute batch statistics.

Axes: B batch, S stacked frames, D features of one frame, L latent units, A actions, N bins.
"""

import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.config import ModelConfig
from speedyzero.model.base import Network, Prediction, PrefixLSTM, PrefixState, Transition, ZeroLinear
from speedyzero.model.blocks import projection_layers


def linear_layer_norm(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_features, out_features), nn.LayerNorm(out_features))


def mlp_representation(config: ModelConfig, in_features: int) -> nn.Sequential:
    """[B, ...] -> latent [B, L], of two layers."""
    hidden, latent = config.mlp_hidden, config.mlp_latent
    return nn.Sequential(
        nn.Flatten(), linear_layer_norm(in_features, hidden), nn.ReLU(), linear_layer_norm(hidden, latent)
    )


class MLPNetwork(Network):
    """One hidden layer in dynamics and in each head."""

    norm_mixes_batch = False

    def __init__(
        self,
        config: ModelConfig,
        representation: nn.Module,
        *,
        num_actions: int,
        prefix_horizon: int,
        folded: bool = False,
    ):
        """representation: from an observation to a latent, [B, L]. folded: for inference, without the projector."""
        super().__init__()
        self.num_actions = num_actions
        hidden, latent = config.mlp_hidden, config.mlp_latent
        self.representation = representation
        self.dynamics_latent = nn.Linear(latent, hidden)
        self.dynamics_action = nn.Embedding(num_actions, hidden)  # the columns of a one-hot action's linear layer
        self.dynamics_norm = nn.LayerNorm(hidden)
        self.dynamics_output = nn.Linear(hidden, latent)
        self.latent_norm = nn.LayerNorm(latent)
        self.lstm = PrefixLSTM(latent, config.lstm_hidden) if prefix_horizon > 0 else None
        prefix_features = config.lstm_hidden if prefix_horizon > 0 else latent
        self.prefix_hidden = linear_layer_norm(prefix_features, config.head_hidden)
        self.prefix_output = ZeroLinear(config.head_hidden, config.prefix_codec.bins)
        self.policy_hidden = linear_layer_norm(latent, hidden)
        self.value_hidden = linear_layer_norm(latent, hidden)
        self.policy_output = ZeroLinear(hidden, num_actions)
        self.value_output = ZeroLinear(hidden, config.value_codec.bins)
        for output, slope in ((self.value_output, 0.5), (self.prefix_output, 1.0)):
            output.begin_near_zero(slope)
        if not folded:
            self.projector, self.predictor = projection_layers(config, latent)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        return self.representation(observation)

    def predict(self, latent: torch.Tensor) -> Prediction:
        return Prediction(
            policy_logits=self.policy_output(F.relu(self.policy_hidden(latent))),
            value_logits=self.value_output(F.relu(self.value_hidden(latent))),
        )

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
