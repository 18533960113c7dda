"""Estimate of the memory that a run takes of each GPU: activations, CUDA graphs, frame mirrors.

`space.py` refuses runs that cannot fit; this warns of those that probably will not, and names what to lower. Not yet
measured on a GPU. A learner's activations are counted on torch's meta device, which computes only shapes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch

from kernels.conv3x3_latent.layout import image_rows
from speedyzero.config import Config
from speedyzero.config.placement import Placement
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.learner.batch import Batch
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.unroll import consistency_steps
from speedyzero.model.blocks import pad_channels
from speedyzero.model.build import build_network
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.reanalyze.process import fills_ahead
from speedyzero.replay.device_mirror import mirror_bytes
from speedyzero.runtime.wiring import Wiring
from speedyzero.supervisor.space import least_of_process
from speedyzero.system.gpus import Gpu, read_gpus

# Allocator rounding, cuDNN workspaces, weights cast in each step.
_MARGIN = 1.35
_COUNTED_BATCH = 8


def chosen_for_gpus(config: Config, wiring: Wiring) -> Config:
    """The settings with those chosen that depend on the GPUs. Notes a GPU that is probably too small."""
    gpus, expected = read_gpus(), expected_bytes(config, wiring)
    if lacks := shortage(expected, gpus):
        print(f"note: {lacks}", flush=True)
    return with_mirrors_chosen(config, wiring, gpus, expected)


def expected_bytes(config: Config, wiring: Wiring) -> dict[int, dict[str, int]]:
    """By GPU, then by process; without mirrors."""
    game = check_game(config.env)
    found: dict[int, dict[str, int]] = {}
    for process, device in wiring.devices.items():
        if device != "cpu":
            on_gpu = found.setdefault(torch.device(device).index or 0, {})
            on_gpu[process] = least_of_process(config, wiring, process) + _work_bytes(config, wiring, game, process)
    return found


def with_mirrors_chosen(
    config: Config, wiring: Wiring, gpus: Sequence[Gpu], expected: Mapping[int, Mapping[str, int]]
) -> Config:
    """`replay.device_mirror=auto` resolved for all processes: on if mirrors fit beside the expected memory."""
    shape = wiring.shard_shape
    if config.replay.device_mirror != "auto" or not config.gpus or not shape.spec.is_image:
        return config
    fits = all(
        sum(parts.values()) + mirrors_on(wiring.placement, gpu) * mirror_bytes(shape) <= gpus[gpu].free_bytes
        for gpu, parts in expected.items()
    )
    return replace(config, replay=replace(config.replay, device_mirror="on" if fits else "off"))


def mirrors_on(placement: Placement, gpu: int) -> int:
    """Number of mirrors on a GPU, if mirrored: one per shard that a learner there draws from, one per reanalyzer."""
    device = f"cuda:{gpu}"
    drawn = sum(placement.learners[feed.learner] == device for feed in placement.feeds)
    return drawn + placement.shards.count(device)


def shortage(expected: Mapping[int, Mapping[str, int]], gpus: Sequence[Gpu]) -> str:
    """One line about the first GPU that is probably too small, and what to lower; empty if none is."""
    for gpu, parts in sorted(expected.items()):
        needed, free = sum(parts.values()), gpus[gpu].free_bytes
        if needed > free:
            largest = max(parts, key=parts.__getitem__)
            lower = "learner.batch_size" if largest.startswith("learner") else "reanalyze.search_batch or actor.envs"
            return (
                f"GPU {gpu} ({gpus[gpu].name}) has {free / 1e9:.1f} GB free, this run will take about "
                f"{needed / 1e9:.1f} GB there, {parts[largest] / 1e9:.1f} of it {largest}: lower {lower}"
            )
    return ""


def _work_bytes(config: Config, wiring: Wiring, game: GameInfo, process: str) -> int:
    if process.startswith("learner"):
        per_sample = _sample_bytes(config, game)
        return int(_MARGIN * per_sample * config.learner.batch_size / len(wiring.placement.learners))
    if process.startswith("actor"):
        return _search_bytes(config, game, config.actor.envs)
    refreshed = config.refresh.slice_on("cuda") * config.refresh.enabled
    ahead = config.reanalyze.ahead_batch * fills_ahead(config, wiring.devices[process])
    searched = _search_bytes(config, game, config.reanalyze.search_batch) + _search_bytes(config, game, ahead)
    return searched + _search_bytes(config, game, refreshed, nodes=0)


def _search_bytes(config: Config, game: GameInfo, batch: int, *, nodes: int | None = None) -> int:
    """Of one agent's captured search: the state of every node, and root inference's activations. nodes: of a root;
    None: a search's."""
    with torch.device("meta"):
        network = build_network(config, game.spec, game.num_actions, folded=True)
    if not isinstance(network, EfficientZeroNetwork):
        return 0  # kilobytes per root
    pixels = game.spec.shape[0] * game.spec.shape[1]
    node = 2 * image_rows(network.latent_grid) * network.latent_channels + 6 * config.model.lstm_hidden
    root = pixels * 2 * network.pad_channels_to + 3 * pixels // 4 * 2 * config.model.stem_channels
    count = config.search.num_simulations + 1 if nodes is None else nodes
    return int(_MARGIN * batch * (count * node + root))


@cache
def _sample_bytes(config: Config, game: GameInfo) -> int:
    """Of one sample in a train step: what the backward pass reads, in bfloat16, and two copies of its images, in the
    graph's static input and in the next batch."""
    batch, steps = _COUNTED_BATCH, config.target.unroll_steps
    every, shape = config.learner.consistency_every, game.spec.shape
    with torch.device("meta"):
        network = build_network(config, game.spec, game.num_actions).train()

        def images(count: int) -> torch.Tensor:
            if not game.spec.is_image:
                return torch.empty(count, config.env.stack * shape[0])
            frames = torch.empty(count, config.env.stack * shape[2], *shape[:2])
            return pad_channels(frames, to=network.pad_channels_to).to(memory_format=torch.channels_last)

        example = Batch(
            root=images(batch),
            following=tuple(images(-(-batch // every)) for _ in range(consistency_steps(config))),
            action=torch.zeros(batch, steps, dtype=torch.int64),
            action_mask=torch.empty(batch, steps),
            value=torch.empty(batch, steps + 1),
            prefix=torch.empty(batch, steps),
            policy=torch.empty(batch, steps + 1, game.num_actions),
            weight=torch.empty(batch),
        )
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
            return tensor

        loss = BatchLoss(
            replace(config, learner=replace(config.learner, folded_targets=False)), network, device=example.root.device
        )
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss(example)
    for parameter in network.parameters():
        kept.pop(parameter.untyped_storage()._cdata, None)
    saved = sum(storage.nbytes() for storage in kept.values())
    both_copies = 2 * sum(tensor.nbytes for tensor in (example.root, *example.following))
    return (saved + both_copies) // 2 // batch  # counted in float32
