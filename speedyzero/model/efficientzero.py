"""EfficientZero's convolutional network. Ye et al. 2021, App. A; layer by layer as in the reference, without its
unused parameters.

Axes: B batch, S stacked frames, C channels, H W image, G latent grid (6 for 96 or 48 pixels), A actions.
"""

import torch
from torch import nn
from torch.nn import functional as F

from speedyzero.config import ModelConfig
from speedyzero.model.base import Network, Prediction, PrefixLSTM, PrefixState, Transition, ZeroLinear
from speedyzero.model.blocks import (
    PAD_CHANNELS_TO,
    ActionConv,
    DownBlock,
    InputConv,
    ResidualBlock,
    conv_norm,
    linear_norm,
    norm_act,
    projection_layers,
)
from speedyzero.model.renorm import renormalize

LATENT_GRID = 6


def pool_count(image_size_px: int) -> int:
    """Number of average pools after the two strided convolutions, until the grid is at most 6 wide."""
    grid, pools = _half(_half(image_size_px)), 0
    while grid > LATENT_GRID:
        grid, pools = _half(grid), pools + 1
    return pools


def latent_grid(image_size_px: int) -> int:
    """Height and width of the latent state."""
    grid = _half(_half(image_size_px))
    for _ in range(pool_count(image_size_px)):
        grid = _half(grid)
    return grid


def _half(size: int) -> int:
    return (size + 1) // 2


class Representation(nn.Module):
    """[B, S*C, H, W] -> [B, latent_channels, G, G]. The input's channels may be padded with zeros."""

    def __init__(self, in_channels: int, image_size_px: int, config: ModelConfig, *, folded: bool):
        super().__init__()
        stem, latent = config.stem_channels, config.latent_channels
        self.stem = InputConv(in_channels, stem, folded=folded)
        self.stem_block = ResidualBlock(stem, folded=folded)
        self.down = DownBlock(stem, latent, folded=folded)
        self.blocks = nn.ModuleList(ResidualBlock(latent, folded=folded) for _ in range(1 + pool_count(image_size_px)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks[0](self.down(self.stem_block(self.stem.activated(x))))
        for block in self.blocks[1:]:
            x = block(F.avg_pool2d(x, 3, stride=2, padding=1))
        return x


class Head(nn.Module):
    """1x1 convolution, flatten, hidden layer, zero-initialised output layer. [B, C, G, G] -> [B, N]."""

    def __init__(self, config: ModelConfig, grid: int, outputs: int, *, folded: bool):
        super().__init__()
        self.reduce = conv_norm(config.latent_channels, config.reduced_channels, kernel=1, bias=True, folded=folded)
        self.hidden = linear_norm(config.reduced_channels * grid * grid, config.head_hidden, folded=folded)
        self.output = ZeroLinear(config.head_hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.reduce.activated(x).flatten(1)
        return self.output(self.hidden.activated(x))


class PrefixHead(nn.Module):
    """The value-prefix head: 1x1 convolution, LSTM step, norm, hidden layer, zero-initialised output layer."""

    def __init__(self, config: ModelConfig, grid: int, *, folded: bool):
        super().__init__()
        self.reduce = conv_norm(config.latent_channels, config.reduced_channels, kernel=1, bias=True, folded=folded)
        self.lstm = PrefixLSTM(config.reduced_channels * grid * grid, config.lstm_hidden)
        self.norm = nn.BatchNorm1d(config.lstm_hidden)
        self.hidden = linear_norm(config.lstm_hidden, config.head_hidden, folded=folded)
        self.output = ZeroLinear(config.head_hidden, config.prefix_codec.bins)

    def forward(self, latent: torch.Tensor, state: PrefixState) -> tuple[torch.Tensor, PrefixState]:
        state = self.lstm(self.reduce.activated(latent).flatten(1), state)
        x = norm_act(state["prefix_state_h"], self.norm)
        return self.output(self.hidden.activated(x)), state


class EfficientZeroNetwork(Network):
    """The whole network; `folded` builds the inference form, without projector and batch norm."""

    norm_mixes_batch = True
    pad_channels_to = PAD_CHANNELS_TO

    def __init__(
        self,
        config: ModelConfig,
        *,
        in_channels: int,
        image_size_px: int,
        num_actions: int,
        prefix_horizon: int,
        folded: bool = False,
    ):
        super().__init__()
        self.num_actions = num_actions
        channels, grid = config.latent_channels, latent_grid(image_size_px)
        self.latent_channels, self.latent_grid = channels, grid
        self.representation = Representation(in_channels, image_size_px, config, folded=folded)
        self.action_conv = ActionConv(channels, num_actions, folded=folded, encoding=config.action_encoding)
        self.dynamics_block = ResidualBlock(channels, folded=folded)
        self.prefix_head: PrefixHead | Head
        if prefix_horizon > 0:
            self.prefix_head = PrefixHead(config, grid, folded=folded)
        else:
            self.prefix_head = Head(config, grid, config.prefix_codec.bins, folded=folded)
        self.prediction_block = ResidualBlock(channels, folded=folded)
        self.policy_head = Head(config, grid, num_actions, folded=folded)
        self.value_head = Head(config, grid, config.value_codec.bins, folded=folded)
        if not folded:
            self.projector, self.predictor = projection_layers(config, channels * grid * grid)
            if config.norm == "renorm":
                heads = self.prefix_head, self.policy_head, self.value_head
                for unrolled in (self.action_conv, self.dynamics_block, self.prediction_block, *heads):
                    renormalize(unrolled)

    def represent(self, observation: torch.Tensor) -> torch.Tensor:
        return self.representation(observation)

    def predict(self, latent: torch.Tensor) -> Prediction:
        x = self.prediction_block(latent)
        return Prediction(policy_logits=self.policy_head(x), value_logits=self.value_head(x))

    def dynamics(self, latent: torch.Tensor, action: torch.Tensor, prefix_state: PrefixState) -> Transition:
        following = self.dynamics_block(self.action_conv.step(latent, action))
        if isinstance(self.prefix_head, PrefixHead):
            logits, prefix_state = self.prefix_head(following, prefix_state)
        else:
            logits = self.prefix_head(following)
        return Transition(latent=following, prefix_logits=logits, prefix_state=prefix_state)

    def project(self, latent: torch.Tensor) -> torch.Tensor:
        return self.projector(latent.flatten(1))

    def predict_projection(self, projection: torch.Tensor) -> torch.Tensor:
        return self.predictor(projection)

    def initial_prefix_state(self, batch_size: int) -> PrefixState:
        if isinstance(self.prefix_head, PrefixHead):
            return self.prefix_head.lstm.initial_state(batch_size)
        return {}
