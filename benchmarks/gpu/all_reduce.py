"""An all-reduce of the learner's gradients over all GPUs, alone and beside processes that search on the last GPU.

colocated   every GPU has a rank: all wait for the one whose GPU also searches
split       a rank on every GPU but the last, which only searches (`placement.kind`)
"""

import statistics
import time
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.gpu.context import Context, Skip
from benchmarks.gpu.networks import atari_config, frame_spec
from benchmarks.gpu.sharing import ACTIONS, Worker, work
from speedyzero.learner.group import joined_group
from speedyzero.model.build import build_network
from speedyzero.system.current_device import make_current

WARM_CALLS = 5


def run(context: Context) -> dict[str, Any]:
    devices = ["cpu", "cpu"] if context.is_rehearsal else gpus(torch.cuda.device_count())
    with TemporaryDirectory(prefix="gpu-suite-") as scratch:
        meeting = Path(scratch) / "meeting"
        meeting.touch(mode=0o600)
        found = measure(context, devices, meeting)
    seen = ", ".join(f"{name} {times['median_ms']:.2f} ms" for name, times in found.items())
    print(f"{seen}; at most {max(times['largest_ms'] for times in found.values()):.2f} ms")
    return {**found, "ranks": len(devices), "seen": f"{len(devices)} ranks: {seen}"}


def gpus(count: int) -> list[str]:
    """Raises Skip for fewer than two."""
    if count < 2:
        raise Skip("one GPU is visible here: there is no all-reduce to time")
    return [f"cuda:{number}" for number in range(count)]


def measure(context: Context, devices: list[str], meeting: Path) -> dict[str, dict[str, float]]:
    """By name, rank 0's times of an all-reduce. Raises RuntimeError where a process dies, TimeoutError for no time."""
    calls, search_s, beside = context.size((50, 2.0, 2), (3, 0.5, 1))
    size = len(devices)
    ranks = [
        Worker(f"rank {rank}", context, target=partial(reduce, rank=rank, size=size, meeting=meeting, device=device))
        for rank, device in enumerate(devices)
    ]
    searchers = []
    try:
        searchers = [Worker("search", context, target=partial(work, device=devices[-1])) for _ in range(beside)]
        for worker in (*ranks, *searchers):
            worker.answer()  # warm

        def time_calls(among: list[Worker]) -> dict[str, float]:
            for worker in among:
                worker.pipe.send((len(among), calls))
            return [worker.answer() for worker in among][0]

        found = {"alone": time_calls(ranks)}
        for name, among in (("colocated", ranks), ("split", ranks[:-1])):
            for searcher in searchers:
                searcher.pipe.send(search_s)
            found[name] = time_calls(among)
            for searcher in searchers:
                searcher.answer()
    finally:
        for worker in (*ranks, *searchers):
            worker.end()
    return found


def reduce(
    name: str, pipe: Connection, out: Path, is_rehearsal: bool, *, rank: int, size: int, meeting: Path, device: str
) -> None:
    """One rank: for each (ranks, calls) received it times so many all-reduces among the first ranks."""
    context = Context.of(out=out, is_rehearsal=is_rehearsal, limit_s=0.0, result_path=None)
    make_current(device)
    config = atari_config(simulations=1, is_tiny=is_rehearsal, gpus=0)
    with torch.device("meta"):
        network = build_network(config, frame_spec(config), ACTIONS)
    gradients = torch.zeros(sum(parameter.numel() for parameter in network.parameters()), device=device)
    with joined_group(rank, size, meeting_file=meeting, device=device):
        groups = {size: dist.group.WORLD, size - 1: dist.new_group(range(size - 1))}

        def milliseconds(ranks: int) -> float:
            started_s = time.perf_counter()
            dist.all_reduce(gradients, group=groups[ranks])
            context.sync()
            return 1e3 * (time.perf_counter() - started_s)

        for ranks in groups:
            for _ in range(WARM_CALLS if rank < ranks else 0):
                milliseconds(ranks)
        pipe.send(None)
        while True:
            try:
                ranks, calls = pipe.recv()
            except EOFError:
                return
            times = [milliseconds(ranks) for _ in range(calls)]
            pipe.send({"median_ms": statistics.median(times), "largest_ms": max(times)})
