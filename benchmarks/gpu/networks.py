"""The networks that the stages run: EfficientZero's for Atari, with random weights that predict something.

A fresh network's heads end in zeros: every action is as good as every other, and a search of it shows nothing. So the
last layers are drawn too, and batch norm has seen a batch.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from speedyzero.config import CodecConfig, Config, EnvConfig, ModelConfig, SearchConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network, ZeroLinear
from speedyzero.model.build import build_network
from speedyzero.model.flat import flatten

CODEC = CodecConfig(limit=10.0, step=1.0)
TINY = ModelConfig(
    network="efficientzero", stem_channels=16, latent_channels=16, reduced_channels=4, head_hidden=16, lstm_hidden=16,
    projector_hidden=16, projector_out=16, predictor_hidden=16, value_codec=CODEC, prefix_codec=CODEC,
)  # fmt: skip


def atari_config(*, simulations: int, is_tiny: bool, gpus: int, **search: Any) -> Config:
    """EfficientZero's defaults; tiny: for rehearsals on a CPU."""
    config = Config(gpus=gpus, search=replace(SearchConfig(), num_simulations=simulations, **search))
    if is_tiny:
        return replace(config, model=TINY, env=EnvConfig(image_size_px=32, grayscale=True))
    return config


def frame_spec(config: Config) -> ObservationSpec:
    size, channels = config.env.image_size_px, 1 if config.env.grayscale else 3
    return ObservationSpec((size, size, channels), np.dtype(np.uint8))


def random_frames(config: Config, batch: int, *, seed: int) -> np.ndarray:
    """Stacked observations, [B, S, H, W, C] uint8, smooth as images are: noise would be all alike to a network."""
    size, stack = config.env.image_size_px, config.env.stack
    channels = frame_spec(config).shape[2]
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (batch, stack, 4, 4, channels), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(size // 4, axis=2).repeat(size // 4, axis=3))


def random_network(config: Config, num_actions: int, *, seed: int, head_scale: float = 0.3) -> Network:
    """A training network on the CPU."""
    torch.manual_seed(seed)
    network = build_network(config, frame_spec(config), num_actions).train()
    for module in network.modules():
        if isinstance(module, ZeroLinear):
            torch.nn.init.normal_(module.weight, std=head_scale)
    frames = torch.from_numpy(random_frames(config, 16, seed=seed))
    images = frames.permute(0, 1, 4, 2, 3).flatten(1, 2).float() / 255.0
    with torch.no_grad():
        for _ in range(20):  # running statistics move by a tenth each time
            latent = network.represent(images)
            state = network.initial_prefix_state(len(images))
            for _ in range(3):
                network.predict(latent)
                action = torch.randint(num_actions, (len(images),))
                transition = network.dynamics(latent, action, state)
                latent, state = transition.latent, transition.prefix_state
    return network


def random_weights(config: Config, num_actions: int, *, seed: int, head_scale: float = 0.3) -> torch.Tensor:
    """Its flat weights, [P] float32, on the CPU: what actors load."""
    return flatten(random_network(config, num_actions, seed=seed, head_scale=head_scale))
