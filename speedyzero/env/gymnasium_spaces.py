"""The supported Gymnasium spaces and how their frames are stored."""

import math

import numpy as np
from gymnasium import spaces

from speedyzero.config import EnvConfig
from speedyzero.env.base import ObservationSpec


def frame_spec(space: spaces.Space, config: EnvConfig) -> ObservationSpec:
    """How one frame of this space is stored. Raises ValueError for unsupported spaces."""
    if not isinstance(space, spaces.Box):
        if not _is_flat(space):
            raise ValueError(
                f"env.game={config.game!r}: observations are {space}; a Box (numbers or a uint8 image), Discrete, "
                "MultiDiscrete, MultiBinary, or a Dict or Tuple of those without images is needed"
            )
        return ObservationSpec((spaces.flatdim(space),), np.dtype(np.float32))
    if not _is_image(space):
        return ObservationSpec((math.prod(space.shape),), np.dtype(np.float32))
    channels = space.shape[2] if len(space.shape) == 3 else 1
    if channels not in (1, 3):
        raise ValueError(
            f"env.game={config.game!r}: images are {space.shape}; [H, W], [H, W, 1] or [H, W, 3] is needed"
        )
    return ObservationSpec(
        (config.image_size_px, config.image_size_px, 1 if config.grayscale else channels), np.dtype(np.uint8)
    )


def _is_flat(space: spaces.Space) -> bool:
    """Whether `spaces.flatten` gives a short vector: one-hot numbers, bits and vectors, concatenated."""
    if isinstance(space, spaces.Dict):
        return all(map(_is_flat, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_is_flat, space.spaces))
    if isinstance(space, spaces.Box):
        return not _is_image(space)
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def discrete_actions(space: spaces.Space, config: EnvConfig) -> spaces.Discrete:
    """The action space. Raises ValueError unless it is discrete."""
    if not isinstance(space, spaces.Discrete):
        raise ValueError(f"env.game={config.game!r}: actions are {space}; Discrete actions are needed")
    return space


def _is_image(space: spaces.Box) -> bool:
    return space.dtype == np.uint8 and len(space.shape) in (2, 3)
