"""Selects the network for an observation. Does not import torch: command lines are checked with it."""

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec

SMALLEST_CONV_IMAGE_PX = 32


def network_kind(config: Config, spec: ObservationSpec) -> str:
    """`efficientzero`, `nature_cnn` or `mlp`.

    Raises ValueError if a convolutional network is configured and the observation is not a square image of at least 32
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
