"""How many runs of a grid fit on the machine at a time, and which GPUs each of them sees."""

import os
from collections.abc import Sequence

from speedyzero.arguments.resolve import visible_gpus
from speedyzero.config.placement import place
from speedyzero.env.registry import check_game
from speedyzero.experiments.grid.run import GridRun
from speedyzero.model.threads import threads_for


def fitting_jobs(runs: Sequence[GridRun], *, inline: bool) -> int:
    """How many runs fit on the machine's GPUs, or its cores for CPU runs, at a time; at least one."""
    gpus = max(run.config.gpus for run in runs)
    if gpus:
        return max(1, visible_gpus() // gpus)
    return max(1, len(os.sched_getaffinity(0)) // max(_cores_of(run, inline=inline) for run in runs))


def slots_for(runs: Sequence[GridRun], jobs: int) -> list[dict[str, str]]:
    """Environment variables of each slot, which assign it GPUs of its own.

    Raises ValueError if there are not enough GPUs.
    """
    most = max(run.config.gpus for run in runs)
    if most == 0:
        return [{} for _ in range(jobs)]
    known = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = known.split(",") if known else [f"{number}" for number in range(visible_gpus())]
    if jobs * most > len(devices):
        raise ValueError(f"--jobs {jobs} with {most} GPUs each: {len(devices)} visible here")
    return [{"CUDA_VISIBLE_DEVICES": ",".join(devices[slot * most : (slot + 1) * most])} for slot in range(jobs)]


def _cores_of(run: GridRun, *, inline: bool) -> int:
    """Each role process keeps its threads, at least one, busy nearly all the time."""
    if inline:
        return threads_for(run.config, check_game(run.config.env).spec)
    placement = place(run.config)
    roles = len(placement.actors) + len(placement.shards) + len(placement.learners)
    return roles * max(1, run.config.cpu_threads)
