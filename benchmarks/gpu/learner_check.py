"""Whether a train step on the device is right, before it is timed.

One step's loss and gradient beside float64 on the CPU. The measure is what the CPU itself is off by in the same type
(float32; bfloat16 by autocast), since a gradient through 40 layers and as many batch norms differs a good deal from the
exact one, whatever computes it: a ReLU that opens or not changes it by a step. (EfficientZero's network, 48 pixels,
batch 64, on the CPU: float32 by 0.019 of the norm; 96 pixels, batch 16: bfloat16 by 0.23.) The device may be off by up
to FACTOR times as much, or by FLOAT32_GRADIENT; without TF32 in float32. Losses have bounds of their own.

Then updates by a graph beside eager ones, and a bad batch among them, which must leave everything as it was, to the
bit.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.learner_batches import ACTIONS, moved, smooth_batch
from benchmarks.gpu.networks import atari_config, random_network
from speedyzero.config import Config, LearnerConfig, OptimizerConfig, ScheduleConfig
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.device_step import state_tensors
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.trainer import Trainer
from speedyzero.model.base import Network
from speedyzero.model.blocks import fuse_norms

FACTOR = 2.0
FLOAT32_GRADIENT = 1e-3
LOSS = {"float32": 1e-4, "bfloat16": 2e-2}  # relative
GRAPH_LOSS = 2e-2  # between an eager and a captured update's loss, relative: both are bfloat16
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gradient:
    loss: float
    flat: torch.Tensor  # [P] float64, on the CPU

    def distance(self, other: Gradient) -> float:
        """Relative to the other's norm; infinite where something is not a number."""
        found = ((self.flat - other.flat).norm() / other.flat.norm()).item()
        return found if math.isfinite(found) else math.inf


def check_config(context: Context, **learner: Any) -> Config:
    """EfficientZero's network and small images, so that float64 takes seconds; tiny in a rehearsal."""
    config = atari_config(simulations=1, is_tiny=context.is_rehearsal, gpus=0)
    unroll = context.size(5, 1)
    return replace(
        config,
        env=replace(config.env, image_size_px=context.size(48, 32)),
        search=replace(config.search, prefix_horizon=unroll),
        target=replace(config.target, unroll_steps=unroll),
        learner=replace(LearnerConfig(batch_size=context.size(32, 4)), **learner),
        optimizer=OptimizerConfig(name="clipped_lars", learning_rate=0.02, warmup_fraction=0.0),
        schedule=ScheduleConfig(train_steps=1000),
    )


def gradient_of(
    network: Network,
    config: Config,
    device: torch.device,
    dtype: torch.dtype,
    *,
    autocast: bool,
    put_in: Callable[[Network], None] | None = None,
) -> Gradient:
    """Of a copy of the network, in `dtype` or by autocast. put_in: other norms."""
    own = copy.deepcopy(network).to(device, dtype).train()
    if put_in is not None:
        put_in(own)
    batch = moved(smooth_batch(config, seed=1), device, torch.bfloat16 if autocast else dtype)
    loss = BatchLoss(config, own, device=device, autocast=autocast)(batch)
    loss.total.backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in own.parameters()]
    return Gradient(loss.total.item(), torch.cat([g.detach().cpu().double().flatten() for g in gradients]))


def check_network(context: Context) -> Network:
    """What all checks begin with."""
    return random_network(check_config(context), ACTIONS, seed=1, head_scale=0.1)


def check_gradients(context: Context, network: Network) -> dict[str, Any]:
    """Of every way to compute the norms, in both types."""
    config = check_config(context)
    exact = gradient_of(network, config, CPU, torch.float64, autocast=False)
    kinds = {"float32": False, "bfloat16": True}  # by autocast?
    usual = {
        kind: gradient_of(network, config, CPU, torch.float32, autocast=autocast).distance(exact)
        for kind, autocast in kinds.items()
    }
    allowed = {kind: max(FLOAT32_GRADIENT, FACTOR * off) for kind, off in usual.items()}
    found: dict[str, Any] = {"exact_loss": exact.loss, "on_the_cpu": usual, "allowed": allowed, "allowed_loss": LOSS}
    failures = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for kind, name in itertools.product(kinds, norms_to_check(context)):
            if context.is_rehearsal and (kind, name) == ("bfloat16", "fused"):
                continue  # the interpreter has none
            put_in = norms_to_check(context)[name]
            got = gradient_of(network, config, context.device, torch.float32, autocast=kinds[kind], put_in=put_in)
            off, loss_off = got.distance(exact), abs(got.loss / exact.loss - 1.0)
            found[f"{kind}, {name} norms"] = {"gradient_off": off, "loss_off": loss_off}
            if not (off <= allowed[kind] and loss_off <= LOSS[kind]):
                failures.append(
                    f"{kind}, {name} norms: gradient off by {off:.1e}, allowed {allowed[kind]:.1e}; "
                    f"loss by {loss_off:.1e}, allowed {LOSS[kind]:.1e}"
                )
    return {"found": found, "failures": failures}


def norms_to_check(context: Context) -> dict[str, Callable[[Network], None] | None]:
    """What puts them in. torch.compile's are torch's own affair, and take their time."""
    return {"torch": None, "fused": partial(fuse_norms, backend="triton") if context.is_rehearsal else fuse_norms}


def check_updates(context: Context, network: Network, **learner: Any) -> dict[str, Any]:
    """Six updates by a graph and eagerly, the fifth with a bad batch. learner: settings besides."""
    eager, graphed = (
        trainer_of(context, network, check_config(context, cuda_graph=graph, **learner)) for graph in (False, True)
    )
    failures: list[str] = []
    losses: list[list[float]] = []
    for step in range(6):
        batch = moved(smooth_batch(check_config(context), seed=2 + step), context.device, torch.float32)
        is_bad = step == 4
        if is_bad:
            batch = replace(batch, value=torch.full_like(batch.value, torch.nan))
        before = everything(graphed)
        updates = [trainer.update(batch, step) for trainer in (eager, graphed)]
        is_same = all(torch.equal(a, b) for a, b in zip(everything(graphed), before, strict=True))
        if is_same != is_bad:
            failures.append(f"update {step}: {'a bad batch changed something' if is_bad else 'nothing changed'}")
        if any(update.is_finite == is_bad for update in updates):
            failures.append(f"update {step}: finite {[update.is_finite for update in updates]}, bad batch {is_bad}")
        if not is_bad:
            losses.append([update.loss.total.item() for update in updates])
    worst = max(abs(b / a - 1.0) for a, b in losses)
    if not worst <= GRAPH_LOSS:
        failures.append(f"a captured update's loss is off by {worst:.1e} > {GRAPH_LOSS:.0e} of the eager one's")
    return {"losses": losses, "worst": worst, "failures": failures}


def trainer_of(context: Context, network: Network, config: Config) -> Trainer:
    """Of a copy of the network."""
    return Trainer(config, copy.deepcopy(network), LoneLearner(), device=context.device, deferred=True)


def everything(trainer: Trainer) -> list[torch.Tensor]:
    """A copy of all that an update may change."""
    tensors = [*trainer.network.state_dict().values(), *state_tensors(trainer.optimizer)]
    return [tensor.clone() for tensor in tensors]
