"""A folded network's weights in the fused kernels' layout, packed in float32 and then rounded, in place.

The kernels' images are rows of pixels (`kernels/conv3x3_latent/layout.py`): a head's features are ordered by pixel,
then channel, while the network flattens by channel, then pixel.

Axes: C latent channels, D reduced channels, G grid, F = G * G * D features, H LSTM units, U hidden units of a head, N
bins, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from kernels.conv3x3_latent.layout import pack_action_maps, pack_weight
from kernels.lstm_cell import pack_weights
from speedyzero.model.blocks import NormedLayer, ResidualBlock
from speedyzero.model.efficientzero import EfficientZeroNetwork, Head, PrefixHead


@dataclass(frozen=True)
class StepWeights:
    """All float32 or all bfloat16, except those marked f32, which enter float32 sums."""

    action_weight: torch.Tensor  # [9, C, C]
    action_bias: torch.Tensor  # [C] f32
    action_maps: torch.Tensor  # [A, G, G, C] f32
    dynamics_weight: torch.Tensor  # [2, 9, C, C]
    dynamics_bias: torch.Tensor  # [2, C] f32

    prefix_reduce_weight: torch.Tensor  # [C, D]
    prefix_reduce_bias: torch.Tensor  # [D]
    lstm_weight: torch.Tensor | None  # [F + H, 4 H]
    lstm_bias: torch.Tensor | None  # [4 H] f32
    norm_scale: torch.Tensor | None  # [H] f32: the batch norm behind the LSTM
    norm_shift: torch.Tensor | None  # [H] f32
    prefix_hidden_weight: torch.Tensor  # [H or F, U]
    prefix_hidden_bias: torch.Tensor  # [U]
    prefix_output_weight: torch.Tensor  # [N, U]
    prefix_output_bias: torch.Tensor  # [N] f32

    prediction_weight: torch.Tensor  # [2, 9, C, C]
    prediction_bias: torch.Tensor  # [2, C] f32
    # Value and policy side by side. Each head's hidden units read only its own D channels.
    heads_reduce_weight: torch.Tensor  # [C, 2 D]
    heads_reduce_bias: torch.Tensor  # [2 D]
    heads_hidden_weight: torch.Tensor  # [2 F, 2 U]
    heads_hidden_bias: torch.Tensor  # [2 U]
    value_output_weight: torch.Tensor  # [N, U]
    value_output_bias: torch.Tensor  # [N] f32
    policy_output_weight: torch.Tensor  # [U, A] f32
    policy_output_bias: torch.Tensor  # [A] f32

    @torch.no_grad()
    def load(self, other: StepWeights) -> None:
        """Copy other weights in place."""
        for name, tensor in vars(self).items():
            if tensor is not None:
                tensor.copy_(getattr(other, name))


@torch.no_grad()
def pack(network: EfficientZeroNetwork, *, dtype: torch.dtype) -> StepWeights:
    """network: folded, float32."""

    def rounded(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype).contiguous()

    def block(residual: ResidualBlock) -> tuple[torch.Tensor, torch.Tensor]:
        layers = [residual.first.layer, residual.second.layer]
        weight = torch.stack([pack_weight(layer.weight, dtype=dtype) for layer in layers])
        return weight, torch.stack([_bias(layer) for layer in layers])

    grid, prefix = network.latent_grid, network.prefix_head
    value, policy = network.value_head, network.policy_head
    taps, channels = network.action_conv.layer.weight, network.latent_channels
    planes = network.action_conv.planes(torch.arange(network.num_actions, device=taps.device))
    dynamics, prediction = block(network.dynamics_block), block(network.prediction_block)
    lstm_weight, lstm_bias, norm_scale, norm_shift = None, None, None, None
    if isinstance(prefix, PrefixHead):
        cell = prefix.lstm.cell
        by_pixel = _by_pixel(cell.weight_ih, grid)
        lstm_weight, lstm_bias = pack_weights(by_pixel, cell.weight_hh, cell.bias_ih, cell.bias_hh, dtype=dtype)
        norm_scale, norm_shift = _scale_and_shift(prefix.norm)
        prefix_hidden = prefix.hidden.layer.weight
    else:
        prefix_hidden = _by_pixel(prefix.hidden.layer.weight, grid)
    return StepWeights(
        action_weight=pack_weight(taps[:, :channels], dtype=dtype),
        action_bias=_bias(network.action_conv.layer),
        action_maps=pack_action_maps(taps[:, channels:], planes, grid=grid),
        dynamics_weight=dynamics[0],
        dynamics_bias=dynamics[1],
        prefix_reduce_weight=rounded(_matrix(prefix.reduce)),
        prefix_reduce_bias=rounded(_bias(prefix.reduce.layer)),
        lstm_weight=lstm_weight,
        lstm_bias=lstm_bias,
        norm_scale=norm_scale,
        norm_shift=norm_shift,
        prefix_hidden_weight=rounded(prefix_hidden.t()),
        prefix_hidden_bias=rounded(_bias(prefix.hidden.layer)),
        prefix_output_weight=rounded(prefix.output.weight),
        prefix_output_bias=_bias(prefix.output),
        prediction_weight=prediction[0],
        prediction_bias=prediction[1],
        heads_reduce_weight=rounded(torch.cat([_matrix(value.reduce), _matrix(policy.reduce)], dim=1)),
        heads_reduce_bias=rounded(torch.cat([_bias(value.reduce.layer), _bias(policy.reduce.layer)])),
        heads_hidden_weight=rounded(_side_by_side(value, policy, grid)),
        heads_hidden_bias=rounded(torch.cat([_bias(value.hidden.layer), _bias(policy.hidden.layer)])),
        value_output_weight=rounded(value.output.weight),
        value_output_bias=_bias(value.output),
        policy_output_weight=policy.output.weight.t().float().contiguous(),
        policy_output_bias=_bias(policy.output),
    )


def _bias(layer: nn.Conv2d | nn.Linear) -> torch.Tensor:
    """A copy, float32."""
    assert layer.bias is not None  # folded layers have one
    return layer.bias.detach().float().clone()


def _matrix(reduce: NormedLayer) -> torch.Tensor:
    """A 1x1 convolution's weight, [C, D]."""
    return reduce.layer.weight.flatten(1).t()


def _by_pixel(weight: torch.Tensor, grid: int) -> torch.Tensor:
    """[outputs, D * G * G], channel by channel, to [outputs, G * G * D], pixel by pixel."""
    return weight.unflatten(1, (-1, grid * grid)).transpose(1, 2).flatten(1)


def _side_by_side(value: Head, policy: Head, grid: int) -> torch.Tensor:
    """Both heads' hidden layers as one, [2 F, 2 U]: half of it zeros, but cheaper than a second launch."""
    blocks = []
    for head in (value, policy):
        of_pixels = _by_pixel(head.hidden.layer.weight, grid).unflatten(1, (grid * grid, -1))  # [U, G * G, D]
        blocks.append(of_pixels.permute(1, 2, 0))
    both = [torch.block_diag(of_value, of_policy) for of_value, of_policy in zip(*blocks, strict=True)]
    return torch.stack(both).flatten(0, 1)


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """Batch norm in evaluation mode: scale * x + shift."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
