"""The optimisers that a run may be trained by: what builds each, and how much it keeps.

Called by the trainer, and by the supervisor before a run, which asks what a learner holds and whether a checkpoint
fits. What an optimiser keeps is saved and restored whatever it is (`checkpoint/optimizer_state.py`).
"""

from __future__ import annotations

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
    moments: int  # numbers that it keeps for each parameter


def build_optimizer(config: OptimizerConfig, network: nn.Module, *, capturable: bool = False) -> torch.optim.Optimizer:
    """The configured optimiser over all parameters.

    capturable: its step waits for nothing if its rates are tensors on the parameters' device, and fits into a CUDA
    graph.
    """
    return OPTIMIZERS[config.name].build(config, network, capturable)


def _sgd(config: OptimizerConfig, network: nn.Module, capturable: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        network.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        foreach=not capturable,  # reads a rate that is a tensor on the host
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
