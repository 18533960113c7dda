"""Trees as they stand in the midst of a search, for tests that launch one kernel: grown by the reference, on the CPU.

All memory that no kernel may read is poisoned, and stays so until a kernel writes it: two trees are compared to the
last bit of everything.

Axes: B roots, N nodes, A actions, S simulations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from kernels.expand_backup import bind_expand_backup
from kernels.fused_tree import bind_expand_then_select
from kernels.gumbel_select import GumbelRule, bind_gumbel, considered_visits
from kernels.puct_select import PuctRule, bind_puct_select, exploration_table
from kernels.tree import PARENT, PARENT_ACTION, REWARD, VALUE_SUM, Tree, bare_tree, replant
from speedyzero.search import StepOutput
from speedyzero.search.latents import LatentStore
from tests.search.models import TableModel, gumbel, root_states

NAN_BITS = 0x7FC00000  # as a float, NaN; as a node, one far away
A5_BITS = 0xA5A5A5A5 - 2**32

DISCOUNT = 0.97
HORIZON = 3


@dataclass(frozen=True)
class Stage:
    """A simulation's tree: as its select finds it, and as its expand_backup does, with the model's answer."""

    before_select: Tree
    before_expand: Tree
    step: StepOutput


@dataclass(frozen=True)
class Growth:
    """What a search has grown."""

    rule: PuctRule | GumbelRule
    has_prefix: bool
    stages: dict[int, Stage]  # by simulation


def grow(
    algorithm: str, *, batch: int, actions: int, stages: tuple[int, ...], simulations: int = 50,
    has_prefix: bool = True, is_flat: bool = False, poison: int = NAN_BITS, **settings,
) -> Growth:  # fmt: skip
    """Search with the reference, and keep the trees of the simulations in `stages`.

    algorithm: puct, puct-random-ties or gumbel; is_flat: the network finds every state and action alike, so that all
    choices are among equals; settings: fields of the rule.
    """
    model = TableModel.random(11 * actions + batch, actions, has_prefix=has_prefix, logit_scale=2.0)
    if is_flat:
        model = TableModel(*(np.zeros_like(x) for x in (model.reward, model.value, model.logits)), has_prefix)
    root = model.root(root_states(batch, batch))
    tree = plant(torch.softmax(root.policy_logits, -1), root.value, num_simulations=simulations)
    poison_unwritten(tree, poison)
    rule = dataclasses.replace(_rule(algorithm, root.policy_logits, simulations, has_prefix), **settings)
    select = bind_select(tree, rule, backend="reference")
    expand_backup = bind_expand_backup(tree, discount=DISCOUNT, has_prefix=has_prefix, backend="reference")
    latents = LatentStore(root.state, num_nodes=simulations + 1)
    kept = {}
    for simulation in range(max(stages) + 1):
        before_select = copied(tree)
        select(simulation)
        step = model.recurrent(latents.gather(tree.parent_row), tree.action[simulation])
        if simulation in stages:
            kept[simulation] = Stage(before_select, copied(tree), step)
        expand_backup(simulation, step.reward, step.value, step.policy_logits)
        latents.write(simulation + 1, step.state)
        if has_prefix:
            latents.reset_prefix(simulation + 1, tree.reset)
    return Growth(rule, has_prefix, kept)


def plant(prior: torch.Tensor, value: torch.Tensor, *, num_simulations: int) -> Tree:
    """Trees of one expanded root each. prior: [B, A]; value: [B]."""
    tree = bare_tree(*prior.shape, num_simulations=num_simulations, device=prior.device)
    replant(tree, prior, value)
    return tree


def bind_select(tree: Tree, rule: PuctRule | GumbelRule, *, backend: str) -> Callable[[int], None]:
    if isinstance(rule, PuctRule):
        return by_number(bind_puct_select(tree, rule, backend=backend), tree, backend=backend)
    return by_number(bind_gumbel(tree, rule, backend=backend).select, tree, backend=backend)


def expand(tree: Tree, growth: Growth, simulation: int, *, backend: str) -> None:
    """Add that simulation's leaf and back up."""
    operation = bind_expand_backup(tree, discount=DISCOUNT, has_prefix=growth.has_prefix, backend=backend)
    by_number(operation, tree, backend=backend)(simulation, *answer(growth, simulation, tree))


def expand_then_select(tree: Tree, growth: Growth, rule: PuctRule | GumbelRule, simulation: int) -> None:
    """By one kernel of Triton's."""
    operation = bind_expand_then_select(tree, rule, discount=DISCOUNT, has_prefix=growth.has_prefix)
    by_number(operation, tree, backend="triton")(simulation, *answer(growth, simulation, tree))


def answer(growth: Growth, simulation: int, tree: Tree) -> tuple[torch.Tensor, ...]:
    """What the model said about the leaf of that simulation."""
    step = growth.stages[simulation].step
    return tuple(x.to(tree.edges.device) for x in (step.reward, step.value, step.policy_logits))


def by_number(operation: Callable[..., None], tree: Tree, *, backend: str) -> Callable[..., None]:
    """Triton's operations read the simulation's number from the device."""
    if backend != "triton":
        return operation

    def numbered(simulation: int, *tensors: torch.Tensor) -> None:
        operation(torch.tensor([simulation], dtype=torch.int32, device=tree.edges.device), *tensors)

    return numbered


def _rule(algorithm: str, logits: torch.Tensor, simulations: int, has_prefix: bool) -> PuctRule | GumbelRule:
    horizon = HORIZON if has_prefix else 0
    batch, actions = logits.shape
    if algorithm == "gumbel":
        return GumbelRule(
            gumbel_logit=torch.from_numpy(gumbel(5, batch, actions)) + (logits - logits.amax(-1, keepdim=True)),
            considered_visits=considered_visits(min(16, actions), simulations),
            c_visit=50.0,
            c_scale=0.1,
            min_q_range=2.0,  # of some nodes' ranges the larger, of others the smaller
            prefix_horizon=horizon,
        )
    has_random_ties = algorithm == "puct-random-ties"
    exploration = exploration_table(simulations, base=19652.0, init=1.25, prior_first=not has_random_ties)
    return PuctRule(exploration, 0.01, horizon, tie_seed=0xDEADBEEF if has_random_ties else None)


def poison_unwritten(tree: Tree, bits: int) -> None:
    """Overwrite all that is uninitialised in a newly planted tree."""
    edges, nodes = tree.edges.view(torch.int32), tree.nodes.view(torch.int32)
    edges[:, :, 1:] = bits
    edges[[VALUE_SUM, REWARD], :, 0] = bits
    nodes[:, :, 1:] = bits
    nodes[[PARENT, PARENT_ACTION], :, 0] = bits
    tree.action.fill_(bits)
    tree.parent_row.fill_(bits)
    tree.reset.fill_(True)


def copied(tree: Tree, device: torch.device | str = "cpu") -> Tree:
    """The same tree in memory of its own."""
    prior, value = tree.prior[:, 0].to(device), tree.value[:, 0].to(device)
    copy = plant(prior, value, num_simulations=tree.num_simulations)
    for name in ("edges", "nodes", "roots"):
        getattr(copy, name).view(torch.int32).copy_(getattr(tree, name).view(torch.int32))
    for name in ("action", "parent_row", "reset"):
        getattr(copy, name).copy_(getattr(tree, name))
    return copy


def on_device(rule: PuctRule | GumbelRule, device: torch.device) -> PuctRule | GumbelRule:
    """The rule with its tensors there."""
    tensors = {name: x.to(device) for name, x in vars(rule).items() if isinstance(x, torch.Tensor)}
    return dataclasses.replace(rule, **tensors)


def assert_same_bits(tree: Tree, want: Tree, *, but_for: tuple[str, ...] = ()) -> None:
    """Every field of both trees, what is poisoned included, is the same to the bit."""
    for field in dataclasses.fields(Tree):
        got, wanted = getattr(tree, field.name).cpu(), getattr(want, field.name)
        if field.name in (*but_for, "edges", "nodes", "roots"):  # those three are made up of the others
            continue
        if got.dtype == torch.float32:
            got, wanted = got.view(torch.int32), wanted.view(torch.int32)
        wrong = (got != wanted).nonzero()
        assert not len(wrong), f"{field.name} differs at {wrong[:5].tolist()}"
