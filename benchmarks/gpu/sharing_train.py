"""The worker of `sharing.py` that trains, as the learner does: one update under way while the next is started."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.context import Context
from benchmarks.gpu.learner import WARM_STEPS, Bench
from benchmarks.gpu.sharing_protocol import serve


def run(context: Context) -> dict[str, Any]:
    batch = context.size(2048, 4)
    loop = Bench(context).loop(batch, cuda_graph=not context.is_rehearsal)
    steps = iter(range(1 << 60))

    def train() -> int:
        loop.step(next(steps))
        return batch

    for _ in range(WARM_STEPS):
        train()
    return serve(context, train)
