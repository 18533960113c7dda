"""The optimiser of a run and what changes over its train steps, all in fractions of it."""

from __future__ import annotations

import math

import torch
from torch import nn

from speedyzero.config import OptimizerConfig, ReplayConfig, ScheduleConfig
from speedyzero.learner.clipped_lars import ClippedLARS, parameter_groups


def learning_rate(config: OptimizerConfig, schedule: ScheduleConfig, train_step: int) -> float:
    """Linear warm-up from 0, then a factor every decay_fraction of the main train steps. B.7."""
    warmup_steps = config.warmup_fraction * schedule.train_steps
    if train_step < warmup_steps:
        return config.learning_rate * train_step / warmup_steps
    decays = (train_step - warmup_steps) // (config.decay_fraction * schedule.train_steps)
    return config.learning_rate * config.decay_factor**decays


def importance_exponent(config: ReplayConfig, schedule: ScheduleConfig, train_step: int) -> float:
    """beta, linear over all train steps."""
    progress = train_step / schedule.total_train_steps
    return config.beta_start + (config.beta_end - config.beta_start) * progress


def build_optimizer(config: OptimizerConfig, network: nn.Module, *, capturable: bool = False) -> torch.optim.Optimizer:
    """The configured optimiser over all parameters.

    capturable: its step waits for nothing if its rates are tensors on the parameters' device, and fits into a CUDA
    graph. (torch's foreach SGD reads such a rate on the host.)
    """
    if config.name == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            foreach=not capturable,
            fused=capturable,
        )
    if config.name in ("clipped_lars", "lars"):
        return ClippedLARS(
            parameter_groups(network, weight_decay=config.weight_decay),
            lr=config.learning_rate,
            momentum=config.momentum,
            trust=config.trust,
            clip=config.clip if config.name == "clipped_lars" else math.inf,
            eps=config.eps,
        )
    assert config.name == "adamw", config.name
    return torch.optim.AdamW(
        network.parameters(),
        lr=config.learning_rate,
        betas=(config.momentum, 0.999),
        weight_decay=config.weight_decay,
        fused=True,
        capturable=capturable,
    )
