"""The available optimisers: how each is built and how much state it has.

Called by the trainer, and by the supervisor before a run, to size a learner and to check a checkpoint. Any optimiser's
state is saved and restored by `checkpoint/optimizer_state.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from speedyzero.config import OptimizerConfig
from speedyzero.learner.clipped_lars import ClippedLARS, parameter_groups


@dataclass(frozen=True)
class OptimizerKind:
    """One value of `optimizer.name`."""

    build: Callable[[OptimizerConfig, nn.Module, bool], torch.optim.Optimizer]  # the bool: see `build_optimizer`
    moments: int  # state values per parameter


def build_optimizer(config: OptimizerConfig, network: nn.Module, *, capturable: bool = False) -> torch.optim.Optimizer:
    """The configured optimiser over all parameters.

    capturable: the step does not synchronise and can be captured in a CUDA graph, if rates are tensors on the
    parameters' device.
    """
    return OPTIMIZERS[config.name].build(config, network, capturable)


def _sgd(config: OptimizerConfig, network: nn.Module, capturable: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        foreach=not capturable,  # foreach reads a tensor rate on the host
        fused=capturable,
    )


def _clipped_lars(config: OptimizerConfig, network: nn.Module, capturable: bool) -> torch.optim.Optimizer:
    """You et al. 2017 (LARS) with SpeedyZero's clip of the trust ratio."""
    return ClippedLARS(
        parameter_groups(network, weight_decay=config.weight_decay),
        lr=config.learning_rate,
        momentum=config.momentum,
        trust=config.trust,
        clip=config.clip if config.name == "clipped_lars" else math.inf,
        eps=config.eps,
    )


def _adamw(config: OptimizerConfig, network: nn.Module, capturable: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.momentum, 0.999),
        weight_decay=config.weight_decay,
        fused=True,
        capturable=capturable,
    )


OPTIMIZERS = {
    "sgd": OptimizerKind(_sgd, moments=1),
    "clipped_lars": OptimizerKind(_clipped_lars, moments=1),
    "lars": OptimizerKind(_clipped_lars, moments=1),
    "adamw": OptimizerKind(_adamw, moments=2),
}
