"""Small networks with nothing left at its initial value."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from speedyzero.config import CodecConfig, Config, EnvConfig, ModelConfig, SearchConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.model.base import Network
from speedyzero.model.build import build_network

IMAGE_SPEC = ObservationSpec(shape=(36, 36, 3), dtype=np.dtype(np.uint8))
VECTOR_SPEC = ObservationSpec(shape=(3,), dtype=np.dtype(np.float32))
TINY_MODEL = ModelConfig(
    stem_channels=3, latent_channels=4, reduced_channels=2, head_hidden=5, lstm_hidden=6,
    projector_hidden=7, projector_out=8, predictor_hidden=9, mlp_hidden=10, mlp_latent=11,
    value_codec=CodecConfig(limit=4.0, step=0.5), prefix_codec=CodecConfig(limit=2.0, step=0.5),
)  # fmt: skip
NUM_ACTIONS = 5


def tiny_config(*, prefix_horizon: int = 5, **stages) -> Config:
    """stack 2, tiny sizes; `stages` replaces whole stages."""
    search = SearchConfig(num_simulations=4, prefix_horizon=prefix_horizon, root_noise_fraction=0.25)
    return replace(Config(env=EnvConfig(stack=2), model=TINY_MODEL, search=search), **stages)


def tiny_network(spec: ObservationSpec, *, prefix_horizon: int = 5, seed: int = 0) -> Network:
    """A training network in training mode, randomised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(tiny_config(prefix_horizon=prefix_horizon), spec, NUM_ACTIONS)
    randomise(network, seed=seed)
    return network


@torch.no_grad()
def randomise(network: nn.Module, *, seed: int) -> None:
    """Other parameters, also where they begin as 0 or 1, and other batch-norm statistics."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.2 + 3 * torch.rand(buffer.shape, generator=generator))
