"""Whether a run fits into shared memory, memory and GPU memory, checked before it starts.

Shared memory is known to the page. For memory a lower bound is estimated: a refused run could not have run, an accepted
one may still need more, for batches, activations and compiled kernels.
"""

import mmap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from speedyzero.config import Config
from speedyzero.env.registry import GameInfo, check_game
from speedyzero.learner.optimizers import OPTIMIZERS
from speedyzero.model.build import build_network
from speedyzero.runtime.wiring import SUPERVISOR, Wiring, wire
from speedyzero.shm import Run, SegmentError, require_space, sweep_dead_runs
from speedyzero.system.gpus import read_gpus
from speedyzero.system.memory_limits import MemoryLimit, is_in_memory, tightest_memory_limit

# Lower bounds, below what was measured on Catch (smaps_rollup, without shared libraries; Python 3.11, torch 2.13 CPU):
# supervisor and fork server, with Python, torch and imports, 261 and 269 MiB; a role, which shares the fork server's
# pages, 20 to 33 MiB of its own (Private_Dirty).
SUPERVISOR_BYTES, SERVER_BYTES, ROLE_BYTES = 160 * 2**20, 240 * 2**20, 16 * 2**20
# Per process on a GPU, for driver and libraries. Assumed, not measured.
GPU_PROCESS_BYTES = 256 * 2**20
# The file through which a group's ranks find one another: 416 bytes for 2 gloo ranks, 896 for 4.
_MEETING_BYTES = 64 * 1024
# NCCL's memory in /dev/shm per rank, whatever shm_dir is, if GPUs cannot access one another directly: a segment of
# 9,637,888 bytes for each channel and peer it receives from (4 MiB, 4,915,200 and 524,288 bytes for its protocols
# and a page: NCCL's src/init.cc and its message in NVIDIA/nccl issue 342). Assumed: two channels, a ring and a tree.
NCCL_RANK_BYTES = 4 * 9_637_888


@dataclass(frozen=True)
class SharedNeed:
    """Bytes in whole pages. segments: in the run's directory. bells: semaphores; nccl: made by its ranks."""

    segments: int
    bells: int
    nccl: int = 0

    @property
    def always_in_shm(self) -> int:
        """Bytes in /dev/shm, wherever the segments are."""
        return self.bells + self.nccl


def wire_where_it_fits(config: Config, *, profiled: bool = False) -> Wiring:
    """Remove shared memory of dead runs, then as `wire_if_it_fits`."""
    if not config.shm_dir or Path(config.shm_dir).is_dir():
        sweep_dead_runs(config.shm_dir or None)
    return wire_if_it_fits(config, profiled=profiled)


def wire_if_it_fits(config: Config, *, profiled: bool = False) -> Wiring:
    """Lay out a new run's shared memory without creating it. profiled: as `wire`.

    Raises ValueError (SegmentError), with both numbers and remedies, if it does not fit or `shm_dir` cannot be used.
    """
    game, run = check_game(config.env), Run.new(config.shm_dir or None)
    wiring = wire(config, run, game.spec, game.num_actions, profiled=profiled)
    require_shared(run, shared_need(wiring))
    in_memory = is_in_memory(run.directory)
    require_memory(least_memory(config, wiring, game, shared_in_memory=in_memory), tightest_memory_limit())
    require_gpu_memory(least_gpu_memory(config, wiring, game))
    return wiring


def shared_need(wiring: Wiring) -> SharedNeed:
    """Bytes asked of the file systems: every object starts on a page of its own."""
    segments = sum(_pages(size) for _, size in wiring.sizes) + _pages(wiring.board.total_bytes)
    meeting = _MEETING_BYTES if len(wiring.placement.learners) > 1 else 0
    ranks = [device for device in wiring.placement.learners if device != "cpu"]
    nccl = len(ranks) * NCCL_RANK_BYTES if len(ranks) > 1 else 0
    return SharedNeed(segments=segments + meeting, bells=len(wiring.board.rows) * mmap.PAGESIZE, nccl=nccl)


def require_shared(run: Run, need: SharedNeed) -> None:
    """Raises SegmentError if the run's shared objects do not fit."""
    if run.shm_dir is None:
        require_space(run, need.segments + need.always_in_shm)
        return
    require_space(run, need.segments)
    try:
        require_space(Run(run.run_id), need.always_in_shm)
    except SegmentError as error:
        what = "semaphores and NCCL's buffers" if need.nccl else "semaphores"
        raise SegmentError(f"{what} stay in /dev/shm, whatever shm_dir is: {error}") from error


def least_memory(config: Config, wiring: Wiring, game: GameInfo, *, shared_in_memory: bool) -> dict[str, int]:
    """Lower bound in bytes, by purpose, without supervisor and fork server, which are running already."""
    parts = {}
    if shared_in_memory:
        need = shared_need(wiring)
        parts["shared memory"] = need.segments + need.always_in_shm
    parts[f"{len(wiring.processes)} processes"] = len(wiring.processes) * ROLE_BYTES
    on_cpu = [process for process in wiring.processes if wiring.devices[process] == "cpu"]
    if on_cpu:
        parts["networks"] = sum(_network_bytes(config, wiring, game, process) for process in on_cpu)
    return parts


def least_of_process(config: Config, wiring: Wiring, process: str) -> int:
    """Lower bound of a process's own memory in bytes, GPU memory included."""
    if process == SUPERVISOR:
        return SUPERVISOR_BYTES
    on_gpu = GPU_PROCESS_BYTES if wiring.devices[process] != "cpu" else 0
    return ROLE_BYTES + on_gpu + _network_bytes(config, wiring, check_game(config.env), process)


def require_memory(parts: Mapping[str, int], limit: MemoryLimit | None) -> None:
    """Raises ValueError if the lower bound exceeds the free memory."""
    needed = sum(parts.values())
    if limit is None or needed <= limit.free_bytes:
        return
    what = ", ".join(f"{name} {_mib(size)}" for name, size in parts.items())
    raise ValueError(
        f"this run needs at least {needed:,} bytes ({_mib(needed)}) of memory ({what}), {limit.where} has "
        f"{limit.free_bytes:,} free ({_mib(limit.free_bytes)} of {_mib(limit.limit_bytes)}): give it more "
        "(docker run --memory=..., a larger machine), end other programs, or use less: a smaller "
        "replay.capacity_steps, fewer actor.actors, or shm_dir= on disk"
    )


def least_gpu_memory(config: Config, wiring: Wiring, game: GameInfo) -> dict[int, int]:
    """Lower bound in bytes, by GPU."""
    needed: Counter[int] = Counter()
    for process in wiring.processes:
        device = torch.device(wiring.devices[process])
        if device.type == "cuda":
            needed[device.index or 0] += GPU_PROCESS_BYTES + _network_bytes(config, wiring, game, process)
    return dict(needed)


def require_gpu_memory(needed: Mapping[int, int]) -> None:
    """Raises ValueError if a GPU has too little memory free."""
    gpus = read_gpus() if needed else ()
    for gpu, size in sorted(needed.items()):
        if gpu >= len(gpus):
            raise ValueError(f"this run works on GPU {gpu}, the driver knows {len(gpus)} GPUs (CUDA_VISIBLE_DEVICES)")
        free, total = gpus[gpu].free_bytes, gpus[gpu].total_bytes
        if size > free:
            raise ValueError(
                f"this run needs at least {size:,} bytes ({_mib(size)}) on GPU {gpu}, which has {free:,} free "
                f"({_mib(free)} of {_mib(total)}): end other programs on it (nvidia-smi lists them), place fewer "
                "processes there (actor.actors, placement.*), or use other GPUs (CUDA_VISIBLE_DEVICES, gpus=)"
            )


def _network_bytes(config: Config, wiring: Wiring, game: GameInfo, process: str) -> int:
    """A learner holds parameters, gradients and the optimiser's moments; others two copies of the weights."""
    if not process.startswith("learner"):
        return 2 * wiring.weight_bytes
    with torch.device("meta"):
        network = build_network(config, game.spec, game.num_actions)
    copies = 2 + OPTIMIZERS[config.optimizer.name].moments
    return copies * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


def _pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
