"""Choose and build the network for an observation."""

import math
from typing import Any

import torch

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.model.kind import network_kind
from speedyzero.model.mlp import MLPNetwork, mlp_representation
from speedyzero.model.nature_cnn import nature_cnn


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
    # Channels last: 88 instead of 34 GFLOP/s of fp32 convolutions on a 2-core CPU, and cuDNN's layout for bf16.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's types
