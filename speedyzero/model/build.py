"""Choose and build the network for an observation."""

from __future__ import annotations

import math

import torch

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.model.mlp import MLPNetwork

SMALLEST_CONV_IMAGE_PX = 32


def network_kind(config: Config, spec: ObservationSpec) -> str:
    """`efficientzero` or `mlp`.

    Raises ValueError where the convolutional network is asked for and the observation is no square image of at
    least 32 pixels.
    """
    height, width = spec.shape[:2] if spec.is_image else (0, 0)
    suits_convolution = height == width and height >= SMALLEST_CONV_IMAGE_PX
    if config.model.network == "auto":
        return "efficientzero" if suits_convolution else "mlp"
    if config.model.network == "efficientzero" and not suits_convolution:
        raise ValueError(
            f"model.network=efficientzero needs a square image of {SMALLEST_CONV_IMAGE_PX} px or more, "
            f"{config.env.game} observes {spec.shape}; use model.network=mlp"
        )
    return config.model.network


def build_network(config: Config, spec: ObservationSpec, num_actions: int, *, folded: bool = False) -> Network:
    """A freshly initialised network. `folded`: the inference form (no batch norm, no projector; mlp: unchanged)."""
    if network_kind(config, spec) == "mlp":
        return MLPNetwork(
            config.model,
            in_features=config.env.stack * math.prod(spec.shape),
            num_actions=num_actions,
            prefix_horizon=config.search.prefix_horizon,
        )
    network = EfficientZeroNetwork(
        config.model,
        in_channels=config.env.stack * spec.shape[2],
        image_size_px=spec.shape[0],
        num_actions=num_actions,
        prefix_horizon=config.search.prefix_horizon,
        folded=folded,
    )
    # Channels last: 88 against 34 GFLOP/s of fp32 convolutions on a 2-core CPU, and what cuDNN wants for bf16.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
