"""Nature DQN's strided convolutions as a representation that ends in a vector. Mnih et al. 2015, with padding.

Axes: B batch, S stacked frames, C channels, H W image, L latent units.
"""

import torch
from torch import nn

from speedyzero.config import ModelConfig
from speedyzero.model.input_norm import InputNorm
from speedyzero.model.mlp import linear_layer_norm


def nature_cnn(config: ModelConfig, in_channels: int, image_size_px: int) -> nn.Sequential:
    """[B, S*C, H, W] -> latent [B, L]: 8x8 by strides of 4, 4x4 by 2, 3x3, and one linear layer with layer norm."""
    stem, wide = config.stem_channels, config.latent_channels
    convolutions = nn.Sequential(
        nn.Conv2d(in_channels, stem, 8, 4, padding=2), nn.ReLU(),
        nn.Conv2d(stem, wide, 4, 2, padding=1), nn.ReLU(),
        nn.Conv2d(wide, wide, 3, 1, padding=1), nn.ReLU(),
        nn.Flatten(),
    )  # fmt: skip
    with torch.no_grad():
        features = convolutions(torch.zeros(1, in_channels, image_size_px, image_size_px)).shape[1]
    shape = in_channels, image_size_px, image_size_px
    return nn.Sequential(InputNorm(shape), convolutions, linear_layer_norm(features, config.mlp_latent))
