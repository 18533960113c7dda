"""What one operation takes: measured on this machine, or estimated for a GPU that is not here.

A GPU's estimate is the network's floating-point operations over what such a chip sustains on them; a share of its peak
that is **entered, not measured**: nothing here has run on a GPU yet. `--cost NAME=SECONDS` replaces any of them by what
`make gpu-check` measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from speedyzero.config import Config
from speedyzero.env.registry import GameInfo
from speedyzero.learner.unroll import consistency_steps
from speedyzero.model.build import build_network
from speedyzero.plan.chips import CHIPS

# Of the peak, on networks this small. The design's floor reckons with a tenth for training; inference is assumed alike.
TRAINING_SHARE, SEARCH_SHARE = 0.1, 0.1
# What a kernel takes at least, launched from a captured graph, and how many there are one after another: of a
# simulation, of a train step. Assumed: small batches end at this floor.
KERNEL_S, STEP_KERNELS, TRAIN_KERNELS = 3e-6, 12, 1_200
BACKWARD = 3.0  # forward and backward over forward
HOST_BATCH_S = 8e-3  # sampling and assembling a batch of 2048, processor time (benchmarks/bench_host_targets.py)
ENV_STEP_S = 1.0 / 960  # of a core: 1,918 agent steps a second of 16 lanes on 2 cores (the design's performance page)


@dataclass(frozen=True)
class Costs:
    """Seconds of the device that does it, per operation; host_* seconds of a core."""

    search_s: float
    value_s: float
    sample_s: float
    refresh_s: float
    host_env_step_s: float
    host_batch_s: float
    sync_s: float  # of one train step, among the learners
    search_call_s: float  # of one call at least, however few positions it has
    train_step_s: float  # of one train step at least, however small the batch
    source: str

    def with_entered(self, entered: Mapping[str, float]) -> Costs:
        """Some of them as the user says."""
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
    """Counted by torch on the network's own layers, without memory or arithmetic."""
    with torch.device("meta"):
        network = build_network(config, game.spec, game.num_actions)
        shape = game.spec.shape
        stack = config.env.stack
        size = (1, stack * shape[2], *shape[:2]) if game.spec.is_image else (1, stack * shape[0])
        observation, action = torch.zeros(size), torch.zeros(1, dtype=torch.int64)
    network.eval()
    count = FlopCounterMode(display=False)
    with torch.no_grad(), count:
        latent = network.represent(observation)
        network.predict(latent)
    root = float(count.get_total_flops())
    count = FlopCounterMode(display=False)
    with torch.no_grad(), count:
        following = network.dynamics(latent, action, network.initial_prefix_state(1))
        network.predict(following.latent)
    step = float(count.get_total_flops())
    count = FlopCounterMode(display=False)
    with torch.no_grad(), count:
        projected = network.project(latent)
    project = float(count.get_total_flops())
    count = FlopCounterMode(display=False)
    with torch.no_grad(), count:
        network.predict_projection(projected)
    predict = float(count.get_total_flops())
    # Consistency: the states that it looks at are projected and predicted from, their frames represented and projected,
    # forward only (counted as a whole root inference, 2% more).
    compared = consistency_steps(config) / config.learner.consistency_every
    trained = root + config.target.unroll_steps * step + compared * (project + predict)
    return Flops(root, step, sample=BACKWARD * trained + compared * (root + project))


def estimated(config: Config, game: GameInfo, gpu: str) -> Costs:
    """For a GPU by name. Raises ValueError where its figures are not known."""
    if gpu not in CHIPS:
        raise ValueError(f"--gpu {gpu}: figures are there for {', '.join(CHIPS)}")
    chip, flops = CHIPS[gpu], flops_of(config, game)
    searching, training = SEARCH_SHARE * chip.peak_flops, TRAINING_SHARE * chip.peak_flops
    with torch.device("meta"):
        parameters = build_network(config, game.spec, game.num_actions).parameters()
    gradient_bytes = 4 * sum(parameter.numel() for parameter in parameters)
    return Costs(
        search_s=(flops.root + config.search.num_simulations * flops.step) / searching,
        value_s=flops.root / searching,
        sample_s=flops.sample / training,
        refresh_s=flops.root / searching,
        host_env_step_s=ENV_STEP_S,
        host_batch_s=HOST_BATCH_S * config.learner.batch_size / 2048,
        sync_s=2 * gradient_bytes / chip.link_bytes_per_s,
        search_call_s=config.search.num_simulations * STEP_KERNELS * KERNEL_S,
        train_step_s=TRAIN_KERNELS * KERNEL_S,
        source=f"{gpu}, a tenth of its peak: assumed, never measured",
    )
