"""The tree's kernels, launch by launch, against the reference on the CPU: every field of the tree, to the bit.

Trees are grown by the reference with all memory poisoned that no kernel may read; at every simulation each kernel is
launched once on a copy. Two things may differ: a leaf's prior, by what two exponentials differ by, which is compared
with float64; and a Gumbel selection below the root, into which an exponential enters, where two scores are that close.
"""

import itertools
import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.context import Context
from kernels.gumbel_select import GumbelRule, bind_gumbel
from kernels.tree import Tree
from tests.kernels.grown_trees import (
    A5_BITS,
    NAN_BITS,
    Growth,
    bind_select,
    copied,
    expand,
    expand_then_select,
    grow,
    on_device,
)

KERNELS = ("puct_select", "gumbel_select", "expand_backup", "fused_tree")
ALGORITHMS = ("puct", "puct-random-ties", "gumbel")
PRIOR_TOLERANCE = 1e-6
SIGMA_TOLERANCE = 1e-5
GUMBEL_SHARE = 1e-3  # of selections that may differ


@dataclass
class Tally:
    """What an algorithm's launches showed."""

    launches: int = 0
    selections: int = 0  # roots of all launches of select
    differing_selections: int = 0
    worst_prior_error: float = 0.0
    worst_sigma_error: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def failures(self, algorithm: str) -> list[str]:
        allowed = GUMBEL_SHARE * self.selections if algorithm == "gumbel" else 0
        found = [f"{algorithm}: {wrong}" for wrong in self.wrong[:10]]
        if self.differing_selections > allowed:
            found.append(f"{algorithm}: {self.differing_selections} of {self.selections} selections differ")
        if not self.worst_prior_error <= PRIOR_TOLERANCE:  # a NaN is larger than everything
            found.append(f"{algorithm}: a prior is off by {self.worst_prior_error:.1e} > {PRIOR_TOLERANCE:.0e}")
        if not self.worst_sigma_error <= SIGMA_TOLERANCE:
            found.append(f"{algorithm}: sigma is off by {self.worst_sigma_error:.1e} > {SIGMA_TOLERANCE:.0e}")
        return found


def run(context: Context) -> dict[str, Any]:
    batches, actions = context.size((63, 7, 1), (3,)), context.size((18, 6, 2), (2,))
    simulations = context.size((50, 16, 1), (3, 1))
    tallies = {algorithm: Tally() for algorithm in ALGORITHMS}
    sizes = itertools.product(simulations, ALGORITHMS, actions, batches)
    cases = {
        f"{algorithm} B={b} A={a} S={s}": partial(check, tallies[algorithm], algorithm, b, a, s, context.device)
        for s, algorithm, a, b in sizes
    }
    context.all_in_time(cases)
    failures = [failure for algorithm, tally in tallies.items() for failure in tally.failures(algorithm)]
    for algorithm, tally in tallies.items():
        print(f"{algorithm:18} {tally.launches} launches, {tally.differing_selections} of {tally.selections} differ")
    launches = sum(tally.launches for tally in tallies.values())
    seen = f"{launches} launches, {sum(tally.differing_selections for tally in tallies.values())} selections differ"
    return {"tallies": tallies, "cases": len(cases), "seen": seen, "failures": failures}


def check(tally: Tally, algorithm: str, batch: int, actions: int, simulations: int, device: torch.device) -> None:
    """Every launch of one search."""
    growth = grow(
        algorithm, batch=batch, actions=actions, simulations=simulations, stages=tuple(range(simulations)),
        poison=NAN_BITS if (batch + simulations) % 2 else A5_BITS,
    )  # fmt: skip
    case = f"B={batch} A={actions} S={simulations}"
    for simulation in growth.stages:
        _check_select(tally, growth, simulation, device)
        _check_expand(tally, growth, simulation, device, case=f"{case} simulation {simulation}")
        if simulation + 1 < simulations:
            _check_fused(tally, growth, simulation, device, case=f"{case} simulation {simulation}")
    if isinstance(growth.rule, GumbelRule):
        _check_sigma(tally, growth, device)


def differing_roots(tree: Tree, want: Tree) -> torch.Tensor:
    """Which roots' trees are not the same to the bit, [B] bool, on the CPU."""
    differs = torch.zeros(want.reset.shape, dtype=torch.bool)
    for name, root_axis in (("edges", 1), ("nodes", 1), ("roots", 1)):
        got, wanted = (getattr(x, name).cpu().view(torch.int32) for x in (tree, want))
        differs |= (got != wanted).movedim(root_axis, 0).flatten(1).any(1)
    differs |= (tree.action.cpu() != want.action).any(0)
    differs |= (tree.parent_row.cpu() != want.parent_row) | (tree.reset.cpu() != want.reset)
    return differs


def _check_select(tally: Tally, growth: Growth, simulation: int, device: torch.device) -> None:
    stage = growth.stages[simulation]
    tree = copied(stage.before_select, device)
    bind_select(tree, on_device(growth.rule, device), backend="triton")(simulation)
    tally.launches += 1
    tally.selections += len(stage.before_select.reset)
    tally.differing_selections += int(differing_roots(tree, stage.before_expand).sum())


def _check_expand(tally: Tally, growth: Growth, simulation: int, device: torch.device, *, case: str) -> None:
    stage = growth.stages[simulation]
    tree, want = copied(stage.before_expand, device), copied(stage.before_expand)
    for one, backend in ((tree, "triton"), (want, "reference")):
        expand(one, growth, simulation, backend=backend)
    tally.launches += 1
    exact = torch.softmax(stage.step.policy_logits.double(), -1)
    error = (tree.prior[:, simulation + 1].cpu().double() - exact).abs().max().item()
    tally.worst_prior_error = _larger(tally.worst_prior_error, error)
    tree.prior[:, simulation + 1] = want.prior[:, simulation + 1].to(device)
    count = int(differing_roots(tree, want).sum())
    if count:
        tally.wrong.append(f"expand_backup, {case}: {count} roots differ")


def _check_fused(tally: Tally, growth: Growth, simulation: int, device: torch.device, *, case: str) -> None:
    """The fused kernel does what the two kernels do."""
    start, rule = growth.stages[simulation].before_expand, on_device(growth.rule, device)
    fused, two = copied(start, device), copied(start, device)
    expand_then_select(fused, growth, rule, simulation)
    expand(two, growth, simulation, backend="triton")
    bind_select(two, rule, backend="triton")(simulation + 1)
    tally.launches += 1
    count = int(differing_roots(fused, copied(two)).sum())
    if count:
        tally.wrong.append(f"fused_tree, {case}: {count} roots differ")


def _check_sigma(tally: Tally, growth: Growth, device: torch.device) -> None:
    last = growth.stages[max(growth.stages)].before_select
    got = bind_gumbel(copied(last, device), on_device(growth.rule, device), backend="triton").root_sigma()
    want = bind_gumbel(last, growth.rule, backend="reference").root_sigma()
    tally.launches += 1
    error = ((got.cpu() - want).abs() / want.abs().clamp_min(1.0)).max().item()
    tally.worst_sigma_error = _larger(tally.worst_sigma_error, error)


def _larger(worst: float, error: float) -> float:
    """The larger one; a NaN once seen stays."""
    return worst if math.isnan(worst) or error <= worst else error
