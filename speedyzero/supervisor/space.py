"""Whether a run fits, asked before anything of it starts."""

from __future__ import annotations

from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.shm import Run, require_space, sweep_dead_runs
from speedyzero.wiring import Wiring, wire


def wire_where_it_fits(config: Config) -> Wiring:
    """Sweep what dead runs left, and lay out the shared memory of a new run. Creates nothing.

    Raises ValueError (SegmentError) with both numbers and the ways out where it does not fit, and for a `shm_dir` that
    cannot be used.
    """
    game = check_game(config.env)
    shm_dir = config.shm_dir or None
    run = Run.new(shm_dir)
    sweep_dead_runs(shm_dir)
    wiring = wire(config, run, game.spec, game.num_actions)
    require_space(run, wiring.total_bytes)
    return wiring
