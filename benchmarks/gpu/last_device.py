"""What the other stages check on the first GPU, in brief on the last visible one, whose number is not 0.

Triton launches on the current device: a process that works on another GPU and does not say so fails here
(`speedyzero/system/current_device.py`). On a machine with one GPU it cannot be shown.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import learner_check, network_kernels, search_check, tree_kernels
from benchmarks.gpu.context import Context, Skip
from speedyzero.system.current_device import make_current

BATCH = 3


def run(context: Context) -> dict[str, Any]:
    if not context.is_rehearsal:
        context = replace(context, device=last_device(torch.cuda.device_count()))
        make_current(str(context.device))
    tally = tree_kernels.Tally()
    checks = {
        "tree kernels": lambda: tree_kernels.check(tally, "puct", BATCH, 3, 3, context.device),
        "network kernels": partial(check_kernels, context),
        "search": lambda: search_check.check_network(context, "puct")["failures"],
        "learner": lambda: learner_check.check_updates(context, learner_check.check_network(context))["failures"],
    }
    found = context.all_in_time(checks)
    failures = [*tally.failures("puct"), *(f"{name}: {one}" for name, wrong in found.items() for one in wrong or ())]
    return {"device": str(context.device), "seen": f"{context.device}: {', '.join(found)}", "failures": failures}


def last_device(count: int) -> torch.device:
    """Raises Skip where the last one is the first."""
    if count < 2:
        raise Skip("one GPU is visible here: that processes work on another than the first cannot be shown")
    return torch.device("cuda", count - 1)


def check_kernels(context: Context) -> list[str]:
    dtype = context.size(torch.bfloat16, torch.float32)
    errors = {name: check(BATCH, dtype, context.device) for name, check in network_kernels.EACH_KERNEL.items()}
    return [
        f"{name} is off by {error:.1e}" for name, error in errors.items() if not error <= network_kernels.BOUNDS[dtype]
    ]
