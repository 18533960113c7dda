"""The table printed before a run starts: processes, their devices and inputs, and sizes in shared memory."""

import os

from speedyzero.config import Config
from speedyzero.runtime.wiring import SUPERVISOR, Wiring, bell_of
from speedyzero.supervisor.crew import threads_per_process
from speedyzero.supervisor.space import SERVER_BYTES, least_of_process
from speedyzero.system.gpus import MPS_RISK, mps_runs
from speedyzero.system.memory_limits import tightest_memory_limit
from speedyzero.topology.edges import TARGETS, WEIGHTS


def print_placement(config: Config, wiring: Wiring) -> None:
    """Every process with its device, torch threads, least own memory, and inputs with their size in shared memory; then
    the memory and cores available."""
    if config.gpus > 1:
        print("note: several GPUs (NCCL) are untested; learner groups have run only on CPUs (gloo)")
    if config.gpus and mps_runs():
        print(f"note: {MPS_RISK}: see doctor")
    threads = threads_per_process(config, len(wiring.processes))
    print(f"{'process':14} {'device':8} {'threads':>7} {'memory':>9}  reads")
    for process in wiring.board.rows:
        is_role = process != SUPERVISOR
        device = wiring.devices[process] if is_role else "cpu"
        read = ", ".join(f"{name} ({_size(size)})" for name, size in _inputs(wiring, process))
        memory = _size(least_of_process(config, wiring, process))
        print(f"{process:14} {device:8} {threads if is_role else 1:>7} {memory:>9}  {read}")
        if not is_role:
            print(f"{'fork server':14} {'cpu':8} {1:>7} {_size(SERVER_BYTES):>9}  imports what the others share")
    limit = tightest_memory_limit()
    free = f", of {_size(limit.free_bytes)} free memory" if limit is not None else ""
    shared = f"{_size(wiring.total_bytes)} shared in {wiring.run.directory}"
    print(f"{shared}{free}; {len(os.sched_getaffinity(0))} cores", flush=True)


def _inputs(wiring: Wiring, process: str) -> list[tuple[str, int]]:
    """What a process reads, with bytes; all metrics rings as one."""
    rings = [ring.name for ring in wiring.rings if ring.consumer_bell == bell_of(process)]
    sizes = dict(wiring.sizes)
    if process == SUPERVISOR:
        return [("metrics.*", sum(sizes[ring] for ring in rings))]
    role, _, index = process.partition("-")
    if role == "actor":
        others = [WEIGHTS.name]
    elif role == "reanalyzer":
        others = [TARGETS.name, wiring.shards[int(index)].name]
    else:
        others = [wiring.shards[feed.shard].name for feed in wiring.placement.feeds if feed.learner == int(index)]
    return [(name, sizes[name]) for name in (*rings, *others)]


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
