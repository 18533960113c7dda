"""What `sanitizer.py` has the tools look at: one launch or a few of every kernel, each as small as it can be."""

from typing import Any

import torch

from benchmarks.gpu import network_kernels, tree_kernels
from benchmarks.gpu.context import Context


def run(context: Context) -> dict[str, Any]:
    batch, actions, simulations = 2, 3, 2
    tally = tree_kernels.Tally()
    for algorithm in tree_kernels.ALGORITHMS:
        tree_kernels.check(tally, algorithm, batch, actions, simulations, context.device)
    for dtype in context.size((torch.float32, torch.bfloat16), (torch.float32,)):
        for check in network_kernels.EACH_KERNEL.values():
            check(batch, dtype, context.device)
    context.sync()
    print(f"{tally.launches} launches of tree kernels, and the network's")
    return {}
