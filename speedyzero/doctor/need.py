"""The resources that a run of a config needs, by the same rules as the checks at its start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec

# Measured: a supervisor of three processes had 24 files open, each process 11 to 17 (CartPole, Linux).
_FILES_OF_ITSELF, _FILES_PER_PROCESS = 32, 4
# Threads of a process besides those of tensor operations: heartbeat, torch's own, checkpoint writer.
_THREADS_OF_A_PROCESS = 6
# Assumed compression of a row's frame (Pong's grey 48 px took a fortieth); the rest of a row; metrics and films.
_FRAME_SHARE, _ROW_BYTES, _OTHER_DISK_BYTES = 0.2, 64, 32 * 2**20


@dataclass(frozen=True)
class Need:
    """Bytes and counts. Memory and disk are lower estimates."""

    what: str  # "Pong (laptop)"
    game: str
    gpus: int
    shared_bytes: int  # segments, in /dev/shm or the shm_dir
    always_in_shm_bytes: int  # whatever shm_dir is
    memory_bytes: int
    gpu_bytes: dict[int, int]
    processes: int
    threads: int
    open_files: int
    disk_bytes: int


def need_of(config: Config) -> Need:
    """Creates nothing. Raises ValueError if the run would be refused, such as for a missing ROM."""
    from speedyzero.env.registry import check_game
    from speedyzero.runtime.wiring import wire
    from speedyzero.shm import Run
    from speedyzero.supervisor import space
    from speedyzero.supervisor.crew import threads_per_process
    from speedyzero.system.memory_limits import is_in_memory

    game = check_game(config.env)
    run = Run.new(config.shm_dir or None)
    wiring = wire(config, run, game.spec, game.num_actions)
    shared = space.shared_need(wiring)
    least = space.least_memory(config, wiring, game, shared_in_memory=is_in_memory(run.directory))
    processes = len(wiring.processes)
    threads = threads_per_process(config, processes) + _THREADS_OF_A_PROCESS
    checkpoints = (config.checkpoint.keep_last + 1) * 4 * wiring.weight_bytes
    row_bytes = _FRAME_SHARE * _frame_bytes(game.spec) + _ROW_BYTES
    rows_bytes = config.schedule.env_steps * row_bytes if config.checkpoint.keep_last else 0
    return Need(
        what=f"{game.name} ({config.preset})",
        game=game.name,
        gpus=config.gpus,
        shared_bytes=shared.segments,
        always_in_shm_bytes=shared.always_in_shm,
        memory_bytes=sum(least.values()),
        gpu_bytes=space.least_gpu_memory(config, wiring, game),
        processes=processes + 1,
        threads=(processes + 1) * threads,
        open_files=_FILES_OF_ITSELF + _FILES_PER_PROCESS * (processes + 1),
        disk_bytes=int(checkpoints + rows_bytes) + _OTHER_DISK_BYTES,
    )


def _frame_bytes(spec: ObservationSpec) -> int:
    return math.prod(spec.shape) * spec.dtype.itemsize
