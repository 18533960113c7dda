"""Whether a train step on the device is right, before it is timed.

One step's loss and gradient beside float64 on the CPU. Float32 (no TF32) must agree to FLOAT32_*. For bfloat16 the
measure is what autocast does on the CPU: a gradient through 40 layers and as many batch norms differs a good deal from
the exact one, whatever computes it (tiny network, batch 64, CPU: by 0.33 of its norm, cosine 0.946), so the device may
be off by up to BFLOAT16_FACTOR times as much, and the loss by BFLOAT16_LOSS.

Then updates by a graph beside eager ones, and a bad batch among them, which must leave everything as it was, to the
bit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from speedyzero.model.blocks import compile_norms, fuse_norms

FLOAT32_LOSS, FLOAT32_GRADIENT = 1e-5, 1e-3  # relative
BFLOAT16_LOSS, BFLOAT16_FACTOR = 2e-2, 1.5
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
        learner=replace(LearnerConfig(batch_size=context.size(64, 4)), **learner),
        optimizer=OptimizerConfig(name="clipped_lars", learning_rate=0.1, warmup_fraction=0.0),
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


def check_gradients(context: Context) -> dict[str, Any]:
    """Of every way to compute the norms, in both types."""
    config = check_config(context)
    network = random_network(config, ACTIONS, seed=1, head_scale=0.1)
    exact = gradient_of(network, config, CPU, torch.float64, autocast=False)
    rounded = gradient_of(network, config, CPU, torch.float32, autocast=True)
    allowed = BFLOAT16_FACTOR * rounded.distance(exact)
    norms: dict[str, Callable[[Network], None] | None] = {"torch": None, "fused": fuse_norms, "compiled": compile_norms}
    if context.is_rehearsal:  # compiling for the CPU takes long and shows nothing here
        norms = {"torch": None, "fused": lambda own: fuse_norms(own, backend="triton")}
    found: dict[str, Any] = {"exact loss": exact.loss, "bfloat16 on the CPU": rounded.distance(exact)}
    failures = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for name, put_in in norms.items():
            if name == "compiled" and context.left_s < 60:
                continue  # it takes its time, and is measured below
            for kind, autocast in (("float32", False), ("bfloat16", True)):
                if context.is_rehearsal and autocast and name == "fused":
                    continue  # the interpreter has no bfloat16
                got = gradient_of(network, config, context.device, torch.float32, autocast=autocast, put_in=put_in)
                off = got.distance(exact)
                loss_off = abs(got.loss / exact.loss - 1.0)
                most, most_loss = (allowed, BFLOAT16_LOSS) if autocast else (FLOAT32_GRADIENT, FLOAT32_LOSS)
                found[f"{kind}, {name}"] = {"gradient_off": off, "loss_off": loss_off, "allowed": [most, most_loss]}
                if not (off <= most and loss_off <= most_loss):
                    failures.append(
                        f"{kind}, {name} norms: gradient off by {off:.1e} of {most:.1e}, "
                        f"loss by {loss_off:.1e} of {most_loss:.1e}"
                    )
    return {"found": found, "failures": failures}


def check_updates(context: Context, **learner: Any) -> dict[str, Any]:
    """Six updates by a graph and eagerly, the fifth with a bad batch. learner: settings besides."""
    eager, graphed = (
        trainer_of(context, check_config(context, cuda_graph=graph, **learner)) for graph in (False, True)
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


def trainer_of(context: Context, config: Config) -> Trainer:
    network = random_network(config, ACTIONS, seed=1, head_scale=0.1)
    mode = "fake" if context.is_rehearsal and config.learner.cuda_graph else "real"
    return Trainer(config, network, LoneLearner(), device=context.device, deferred=True, capture_mode=mode)


def everything(trainer: Trainer) -> list[torch.Tensor]:
    """A copy of all that an update may change."""
    tensors = [*trainer.network.state_dict().values(), *state_tensors(trainer.optimizer)]
    return [tensor.clone() for tensor in tensors]
