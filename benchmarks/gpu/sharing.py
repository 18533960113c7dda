"""Two processes on one GPU, one that searches and one that trains: each alone, then both at once.

That is what a colocated run does (`placement.kind`): their kernels take turns in slices of time. The shares are of the
rate alone; a sum above 1 says that two processes get more done than one after the other would.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.sharing_protocol import Worker

ROLES = ("search", "train")
UNITS = {"search": "searches/s", "train": "samples/s"}


def run(context: Context) -> dict[str, Any]:
    found = share(context)
    for role in ROLES:
        alone, together = found["alone"][role], found["together"][role]
        print(f"{role} {alone:,.0f} {UNITS[role]} alone, {together:,.0f} beside the other")
    return {**found, "seen": f"sum of shares {found['sum_of_shares']:.2f}"}


def share(context: Context) -> dict[str, Any]:
    """Rates and shares. Raises RuntimeError where a worker dies, TimeoutError where there is no time."""
    alone_s, together_s = context.size((2.0, 4.0), (0.3, 0.5))
    workers = [Worker(role, context) for role in ROLES]
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
