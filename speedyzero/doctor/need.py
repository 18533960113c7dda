"""The resources that a run of a config needs, by the same rules as the checks at its start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speedyzero.config import Config

# Assumed compression of a row's frame (Pong's grey 48 px took a fortieth); the rest of a row; metrics and films.
_FRAME_SHARE, _ROW_BYTES, _OTHER_DISK_BYTES = 0.2, 64, 32 * 2**20


@dataclass(frozen=True)
class Need:
    """Memory and disk are lower estimates."""

    what: str  # "Pong (laptop)"
    shared_bytes: int  # segments, in /dev/shm or the shm_dir
    always_in_shm_bytes: int  # whatever shm_dir is
    memory_bytes: int
    gpu_bytes: dict[int, int]
    disk_bytes: int


def need_of(config: Config) -> Need:
    """Creates nothing. Raises ValueError if the run would be refused, such as for a missing ROM."""
    from speedyzero.env.registry import check_game
    from speedyzero.runtime.wiring import wire
    from speedyzero.shm import Run
    from speedyzero.supervisor import space
    from speedyzero.system.memory_limits import is_in_memory

    game = check_game(config.env)
    run = Run.new(config.shm_dir or None)
    wiring = wire(config, run, game.spec, game.num_actions)
    shared = space.shared_need(wiring)
    checkpoints = (config.checkpoint.keep_last + 1) * 4 * wiring.weight_bytes
    row_bytes = _FRAME_SHARE * math.prod(game.spec.shape) * game.spec.dtype.itemsize + _ROW_BYTES
    rows_bytes = config.schedule.env_steps * row_bytes if config.checkpoint.keep_last else 0
    return Need(
        what=f"{game.name} ({config.preset})",
        shared_bytes=shared.segments,
        always_in_shm_bytes=shared.always_in_shm,
        memory_bytes=sum(
            space.least_memory(config, wiring, game, shared_in_memory=is_in_memory(run.directory)).values()
        ),
        gpu_bytes=space.least_gpu_memory(config, wiring, game),
        disk_bytes=int(checkpoints + rows_bytes) + _OTHER_DISK_BYTES,
    )
