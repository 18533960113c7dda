"""The tree's Triton kernels, launch by launch, against the reference: every field of the tree, to the bit.

Only a leaf's prior may differ, by what the exponentials of two libraries do.
"""

from __future__ import annotations

import math
import mmap

import numpy as np
import pytest
import torch

from kernels import tree as tree_module
from kernels.gumbel_select import GumbelRule, bind_gumbel
from kernels.tree import Tree
from tests.kernels.grown_trees import (
    A5_BITS,
    HORIZON,
    assert_same_bits,
    bind_select,
    copied,
    expand,
    expand_then_select,
    grow,
    on_device,
    plant,
)

ALGORITHMS = ("puct", "puct-random-ties", "gumbel")
# batch, actions, the simulations whose kernels are launched
SIZES = [(1, 1, (7,)), (3, 2, (49,)), (7, 3, (0, 1, 14)), (1, 6, (49,)), (7, 18, (20,))]
GROWTHS = [
    *(dict(algorithm=each, batch=b, actions=a, stages=stages) for each in ALGORITHMS for b, a, stages in SIZES),
    *(dict(algorithm=each, batch=3, actions=6, stages=(15,), has_prefix=False, poison=A5_BITS) for each in ALGORITHMS),
    *(dict(algorithm=each, batch=2, actions=6, stages=(0, 9), is_flat=True) for each in ALGORITHMS[:2]),
    dict(algorithm="gumbel", batch=2, actions=6, stages=(0, 9), is_flat=True, gumbel_logit=torch.zeros(2, 6)),
    dict(algorithm="puct", batch=5, actions=6, stages=(20,), value_delta_max=50.0),
    dict(algorithm="puct", batch=63, actions=6, stages=(2,), poison=A5_BITS),
    dict(algorithm="gumbel", batch=63, actions=2, stages=(1,), poison=A5_BITS),
]


@pytest.mark.parametrize("growth", GROWTHS, ids=str)
def test_each_kernel_agrees_with_the_reference(device, growth):
    """Many roots, plain rewards, choices among equals, a narrow range of Q."""
    growth = grow(**growth)
    for simulation, stage in growth.stages.items():
        tree = copied(stage.before_select, device)
        bind_select(tree, on_device(growth.rule, device), backend="triton")(simulation)
        assert_same_bits(tree, stage.before_expand)
        if isinstance(growth.rule, GumbelRule) and growth.has_prefix:
            continue  # a backup is the same for both rules
        tree, want = copied(stage.before_expand, device), copied(stage.before_expand)
        expand(tree, growth, simulation, backend="triton")
        expand(want, growth, simulation, backend="reference")
        exact = torch.softmax(stage.step.policy_logits.double(), -1)
        torch.testing.assert_close(tree.prior[:, simulation + 1].cpu().double(), exact, atol=3e-7, rtol=0)
        tree.prior[:, simulation + 1] = want.prior[:, simulation + 1].to(device)
        assert_same_bits(tree, want)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_trees_above_are_deep(algorithm):
    """Several prefixes are reset on the way."""
    batch, actions, (last,) = SIZES[1]
    tree = grow(algorithm, batch=batch, actions=actions, stages=(last,)).stages[last].before_expand
    assert depths(tree, last + 2).max() > 3 * HORIZON


def depths(tree: Tree, num_nodes: int) -> torch.Tensor:
    """[B, num_nodes]."""
    depth = torch.zeros(tree.parent.shape[0], num_nodes, dtype=torch.int64)
    for node in range(1, num_nodes):
        depth[:, node] = 1 + depth.gather(1, tree.parent[:, node : node + 1].long())[:, 0]
    return depth


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_kernel_expands_and_selects_as_two_do(device, algorithm):
    simulation = 18
    growth = grow(algorithm, batch=3, actions=6, stages=(simulation,))
    start, rule = growth.stages[simulation].before_expand, on_device(growth.rule, device)
    fused, two, want = copied(start, device), copied(start, device), copied(start)
    expand_then_select(fused, growth, rule, simulation)
    for tree, its_rule, backend in ((two, rule, "triton"), (want, growth.rule, "reference")):
        expand(tree, growth, simulation, backend=backend)
        bind_select(tree, its_rule, backend=backend)(simulation + 1)
    assert_same_bits(fused, copied(two))
    assert_same_bits(fused, want, but_for=("prior",))


def test_root_sigma_in_float64(device):
    growth = grow("gumbel", batch=7, actions=6, stages=(20,))
    tree, rule = growth.stages[20].before_select, growth.rule
    operations = bind_gumbel(copied(tree, device), on_device(rule, device), backend="triton")
    got = operations.root_sigma().cpu().numpy()
    assert torch.equal(torch.from_numpy(got), bind_gumbel(tree, rule, backend="reference").root_sigma())

    prior, q, visits = (getattr(tree, name)[:, 0].double().numpy() for name in ("prior", "q", "visits"))
    total = visits.sum(-1, keepdims=True)
    known = np.where(visits > 0, prior, 0.0)
    weighted = (known * q).sum(-1, keepdims=True) / known.sum(-1, keepdims=True)
    mixed = (tree.value[:, :1].double().numpy() + total * weighted) / (1 + total)
    completed = np.where(visits > 0, q, mixed)
    least, most = completed.min(-1, keepdims=True), completed.max(-1, keepdims=True)
    want = (50 + visits.max(-1, keepdims=True)) * 0.1 * (completed - least) / (most - least)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_edges_beyond_2_to_the_31(device, monkeypatch):
    """Offsets into the edges of all roots have 64 bits: four simulations in trees with room for 2^24."""
    batch, actions, room = 2, 16, 2**24 - 1
    growth = grow("puct", batch=batch, actions=actions, stages=(0, 1, 2, 3), simulations=4)
    small = growth.stages[0].before_select
    assert 5 * batch * (room + 1) * actions > 2**31
    with monkeypatch.context() as patch:
        patch.setattr(tree_module.torch, "empty", lazily_mapped)
        large = plant(small.prior[:, 0].to(device), small.value[:, 0].to(device), num_simulations=room)

    select = bind_select(large, on_device(growth.rule, device), backend="triton")
    for simulation in range(4):
        select(simulation)
        assert_first_nodes_equal(large, growth.stages[simulation].before_expand, simulation + 1)
        expand(large, growth, simulation, backend="triton")


def lazily_mapped(*shape, dtype=torch.float32, device="cpu"):
    """torch.empty whose memory on the CPU takes up none before it is written, however large it is."""
    shape = shape[0] if isinstance(shape[0], tuple) else shape
    if torch.device(device).type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    no_reserve = 0x4000  # MAP_NORESERVE, which Python names from 3.13 on
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve
    return torch.frombuffer(mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=flags), dtype=dtype).view(shape)


def assert_first_nodes_equal(tree: Tree, want: Tree, leaf: int) -> None:
    """Both trees as select leaves them, with the leaf's place named and the nodes before it made."""
    for name in ("visits", "q", "child", "prefix", "value"):
        assert torch.equal(getattr(tree, name)[:, :leaf].cpu(), getattr(want, name)[:, :leaf]), name
    for name in ("parent", "parent_action"):
        assert torch.equal(getattr(tree, name)[:, 1 : leaf + 1].cpu(), getattr(want, name)[:, 1 : leaf + 1]), name
    for name in ("value_total", "q_min", "q_max", "parent_row", "reset"):
        assert torch.equal(getattr(tree, name).cpu(), getattr(want, name)), name
    assert torch.equal(tree.action[leaf - 1].cpu(), want.action[leaf - 1])
