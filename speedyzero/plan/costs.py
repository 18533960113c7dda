"""The cost of each operation: measured on this machine, or estimated for a GPU.

The estimate divides the network's floating-point operations by an **assumed, not measured** share of the GPU's peak.
`--cost NAME=SECONDS` replaces an estimate, for example by a result of `make gpu-check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from speedyzero.config import Config
from speedyzero.env.registry import GameInfo
from speedyzero.learner.unroll import consistency_steps
from speedyzero.model.build import build_network
from speedyzero.plan.chips import CHIPS

# Shares of the peak on networks this small. The design assumes a tenth for training; inference is assumed to be alike.
TRAINING_SHARE, SEARCH_SHARE = 0.1, 0.1
# Least time of a kernel launched from a captured graph, and sequential kernels per simulation and per train step.
# Assumed; the floor for small batches.
KERNEL_S, STEP_KERNELS, TRAIN_KERNELS = 3e-6, 12, 1_200
BACKWARD = 3.0  # forward and backward over forward
HOST_BATCH_S = 8e-3  # sampling and assembling a batch of 2048, CPU time (docs/results/gpu.md)
ENV_STEP_S = 1.0 / 960  # CPU time: 1,918 agent steps/s of 16 lanes on 2 cores (the design's performance page)


@dataclass(frozen=True)
class Costs:
    """Device seconds per operation; host_*: CPU seconds."""

    search_s: float
    value_s: float
    sample_s: float
    refresh_s: float
    host_env_step_s: float
    host_batch_s: float
    source: str
    sync_s: float = 0.0  # gradient synchronisation of one train step, on each node
    nodes_s: float = 0.0  # between nodes
    search_call_s: float = 0.0  # minimum per call, for small batches
    train_step_s: float = 0.0  # minimum per train step, for small batches

    def with_entered(self, entered: Mapping[str, float]) -> Costs:
        """A copy with the user's costs."""
        if not entered:
            return self
        return replace(self, **entered, source=f"{self.source}; entered: {', '.join(sorted(entered))}")


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one position."""

    root: float  # representation and prediction
    step: float  # one simulation
    sample: float  # forward and backward of a training sample


def flops_of(config: Config, game: GameInfo) -> Flops:
    """Counted by torch on meta tensors."""
    with torch.device("meta"):
        network = build_network(config, game.spec, game.num_actions)
        shape = game.spec.shape
        stack = config.env.stack
        size = (1, stack * shape[2], *shape[:2]) if game.spec.is_image else (1, stack * shape[0])
        observation, action = torch.zeros(size), torch.zeros(1, dtype=torch.int64)
    network.eval()
    represent, latent = _counted(network.represent, observation)
    predict, _ = _counted(network.predict, latent)
    dynamics, _ = _counted(network.dynamics, latent, action, network.initial_prefix_state(1))
    project, projected = _counted(network.project, latent)
    compare, _ = _counted(network.predict_projection, projected)
    root, step = represent + predict, dynamics + predict
    # Consistency: compared states are projected and predicted from; their frames are represented and projected, forward
    # only (counted as a whole root inference, 2% more).
    compared = consistency_steps(config) / config.learner.consistency_every
    trained = root + config.target.unroll_steps * step + compared * (project + compare)
    return Flops(root, step, sample=BACKWARD * trained + compared * (root + project))


def _counted(part: Callable[..., Any], *inputs: Any) -> tuple[float, Any]:
    """Floating-point operations of a part of the network, and its output."""
    count = FlopCounterMode(display=False)
    with torch.no_grad(), count:
        result = part(*inputs)
    return float(count.get_total_flops()), result


def gradient_bytes(config: Config, game: GameInfo) -> int:
    with torch.device("meta"):
        parameters = build_network(config, game.spec, game.num_actions).parameters()
    return 4 * sum(parameter.numel() for parameter in parameters)


def nodes_s(config: Config, game: GameInfo, *, nodes: int, gbit_per_s: float) -> float:
    """Of an all-reduce of the gradients in a ring: each node sends and receives 2 (N - 1) / N of them."""
    return 2 * (nodes - 1) / nodes * gradient_bytes(config, game) / (gbit_per_s * 1e9 / 8)


def estimated(config: Config, game: GameInfo, gpu: str) -> Costs:
    """Costs for a GPU by its name in CHIPS."""
    chip, flops = CHIPS[gpu], flops_of(config, game)
    searching, training = SEARCH_SHARE * chip.peak_flops, TRAINING_SHARE * chip.peak_flops
    return Costs(
        search_s=(flops.root + config.search.num_simulations * flops.step) / searching,
        value_s=flops.root / searching,
        sample_s=flops.sample / training,
        refresh_s=flops.root / searching,
        host_env_step_s=ENV_STEP_S,
        host_batch_s=HOST_BATCH_S * config.learner.batch_size / 2048,
        sync_s=2 * gradient_bytes(config, game) / chip.link_bytes_per_s,
        search_call_s=config.search.num_simulations * STEP_KERNELS * KERNEL_S,
        train_step_s=TRAIN_KERNELS * KERNEL_S,
        source=f"{gpu}, a tenth of its peak: assumed, never measured",
    )
