"""EfficientZero's network again, straight from the design's B.2: plain functions of a state dict, batch norm as its
formula, the action plane concatenated, nothing folded.

Axes: B batch, C channels, H W image, A actions, N bins.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

BN_EPSILON = 1e-5


class PlainNetwork:
    """Evaluation mode. Every method takes and returns what the network's own does, logits unnamed."""

    def __init__(self, state: dict[str, torch.Tensor], *, num_actions: int, pools: int):
        self._state, self._num_actions, self._pools = state, num_actions, pools

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._conv_norm("representation.stem", x, stride=2))
        x = self._residual("representation.stem_block", x)
        skip = F.conv2d(x, self._state["representation.down.skip.weight"], stride=2, padding=1)
        x = F.relu(self._conv_norm("representation.down.first", x, stride=2))
        x = F.relu(self._conv_norm("representation.down.second", x) + skip)
        x = self._residual("representation.blocks.0", x)
        for i in range(self._pools):
            x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2)  # zeros of the padding are counted
            x = self._residual(f"representation.blocks.{i + 1}", x)
        return x

    def predict(self, latent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Policy and value logits."""
        x = self._residual("prediction_block", latent)
        return self._head("policy_head", x), self._head("value_head", x)

    def dynamics(
        self, latent: torch.Tensor, action: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Next latent, prefix logits, h, c."""
        batch, _, height, width = latent.shape
        plane = (action / self._num_actions).view(batch, 1, 1, 1).expand(batch, 1, height, width)
        x = self._conv_norm("action_conv", torch.cat([latent, plane], dim=1))
        following = self._residual("dynamics_block", F.relu(x + latent))
        features = F.relu(self._conv_norm("prefix_head.reduce", following, padding=0)).reshape(batch, -1)
        h, c = self._lstm("prefix_head.lstm.cell", features, h, c)
        x = F.relu(self._norm("prefix_head.norm", h))
        x = F.relu(self._linear_norm("prefix_head.hidden", x))
        return following, self._linear("prefix_head.output", x), h, c

    def project(self, latent: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._linear_norm("projector.0", latent.reshape(len(latent), -1)))
        return self._linear_norm("projector.4", F.relu(self._linear_norm("projector.2", x)))

    def predict_projection(self, projection: torch.Tensor) -> torch.Tensor:
        return self._linear("predictor.2", F.relu(self._linear_norm("predictor.0", projection)))

    def _residual(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self._conv_norm(f"{name}.first", x))
        return F.relu(self._conv_norm(f"{name}.second", y) + x)

    def _head(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._conv_norm(f"{name}.reduce", x, padding=0)).reshape(len(x), -1)
        return self._linear(f"{name}.output", F.relu(self._linear_norm(f"{name}.hidden", x)))

    def _lstm(self, name: str, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        weight = self._state
        gates = x @ weight[f"{name}.weight_ih"].T + weight[f"{name}.bias_ih"]
        gates = gates + h @ weight[f"{name}.weight_hh"].T + weight[f"{name}.bias_hh"]
        entry, forget, cell, exit = gates.chunk(4, dim=1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(entry) * torch.tanh(cell)
        return torch.sigmoid(exit) * torch.tanh(c), c

    def _conv_norm(self, name: str, x: torch.Tensor, *, stride: int = 1, padding: int = 1) -> torch.Tensor:
        weight, bias = self._state[f"{name}.layer.weight"], self._state.get(f"{name}.layer.bias")
        return self._norm(f"{name}.norm", F.conv2d(x, weight, bias, stride=stride, padding=padding))

    def _linear_norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self._norm(f"{name}.norm", self._linear(f"{name}.layer", x))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self._state[f"{name}.weight"].T + self._state[f"{name}.bias"]

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        mean, variance, weight, bias = (
            self._state[f"{name}.{key}"].view(-1, *[1] * (x.dim() - 2))
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + BN_EPSILON) * weight + bias
