"""Two processes on one GPU, one that searches and one that trains: each alone, then both at once.

That is what a colocated run does (`placement.kind`). Without CUDA's multi-process service (MPS) their kernels take
turns in slices of time, with it they may run side by side. The shares are of the rate alone; a sum above 1 says that
two processes get more done than one after the other would.

MPS is neither started nor stopped. Where it runs, both ways are measured: a process whose CUDA_MPS_PIPE_DIRECTORY names
no daemon works without it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.environment import mps
from benchmarks.gpu.sharing_protocol import Worker

ROLES = ("search", "train")
UNITS = {"search": "searches/s", "train": "samples/s"}
NO_DAEMON = {"CUDA_MPS_PIPE_DIRECTORY": "/nonexistent"}


def run(context: Context) -> dict[str, Any]:
    ways: dict[str, dict[str, str]] = {"without MPS": {}}
    if context.device.type == "cuda" and mps()["runs"]:
        ways = {"with MPS": {}, "without MPS": NO_DAEMON}
    for name, environment in ways.items():
        found = share(context, environment)
        context.keep(**{name: found})
        for role in ROLES:
            alone, together = found["alone"][role], found["together"][role]
            print(f"{name}: {role} {alone:,.0f} {UNITS[role]} alone, {together:,.0f} beside the other")
        print(f"{name}: sum of shares {found['sum_of_shares']:.2f}")
    return context.results


def share(context: Context, environment: dict[str, str]) -> dict[str, Any]:
    """Rates and shares. Raises RuntimeError where a worker dies, TimeoutError where there is no time."""
    alone_s, together_s = context.size((2.0, 4.0), (0.3, 0.5))
    workers = [Worker(role, context, environment) for role in ROLES]
    try:
        for worker in workers:
            worker.answer(context.deadline_s)  # ready
        alone = {}
        for worker in workers:
            worker.ask(alone_s)
            alone[worker.name] = float(worker.answer(context.deadline_s)["per_s"])
        for worker in workers:
            worker.ask(together_s)
        together = {worker.name: float(worker.answer(context.deadline_s)["per_s"]) for worker in workers}
    finally:
        for worker in workers:
            worker.end()
    shares = {role: together[role] / alone[role] for role in ROLES}
    return {"alone": alone, "together": together, "shares": shares, "sum_of_shares": sum(shares.values())}
