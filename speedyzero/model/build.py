"""Choose and build the network for an observation."""

from __future__ import annotations

import math
from typing import Any

import torch

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.model.mlp import MLPNetwork, mlp_representation
from speedyzero.model.nature_cnn import nature_cnn

SMALLEST_CONV_IMAGE_PX = 32


def network_kind(config: Config, spec: ObservationSpec) -> str:
    """`efficientzero`, `nature_cnn` or `mlp`.

    Raises ValueError where a convolutional network is asked for and the observation is no square image of at least 32
    pixels.
    """
    height, width = spec.shape[:2] if spec.is_image else (0, 0)
    suits_convolution = height == width and height >= SMALLEST_CONV_IMAGE_PX
    if config.model.network == "auto":
        return "efficientzero" if suits_convolution else "mlp"
    if config.model.network != "mlp" and not suits_convolution:
        raise ValueError(
            f"model.network={config.model.network} needs a square image of {SMALLEST_CONV_IMAGE_PX} px or more, "
            f"{config.env.game} observes {spec.shape}; use model.network=mlp"
        )
    return config.model.network


def build_network(config: Config, spec: ObservationSpec, num_actions: int, *, folded: bool = False) -> Network:
    """A freshly initialised network. `folded`: the inference form, without projector and batch norm."""
    kind, model, stack = network_kind(config, spec), config.model, config.env.stack
    rest: dict[str, Any] = {
        "num_actions": num_actions,
        "prefix_horizon": config.search.prefix_horizon,
        "folded": folded,
    }
    network: Network
    if kind == "mlp":
        network = MLPNetwork(model, mlp_representation(model, stack * math.prod(spec.shape)), **rest)
    elif kind == "nature_cnn":
        network = MLPNetwork(model, nature_cnn(model, stack * spec.shape[2], spec.shape[0]), **rest)
    else:
        network = EfficientZeroNetwork(model, in_channels=stack * spec.shape[2], image_size_px=spec.shape[0], **rest)
    # Channels last: 88 against 34 GFLOP/s of fp32 convolutions on a 2-core CPU, and what cuDNN wants for bf16.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
