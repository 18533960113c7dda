"""The search trees of a batch of roots as a structure of arrays. Planted by `speedyzero.search`, grown by the kernels.

Axes: B roots, N = S + 1 nodes, A actions, S simulations. Node 0 is the root; simulation k adds node k + 1, so a node's
index tells when it was made. An edge (node, action) holds the statistics of the child that it leads to.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch

NO_CHILD = -1


@dataclass(frozen=True)
class Tree:
    """Rows of nodes that are not made yet are uninitialised."""

    # Edges, [B, N, A].
    prior: torch.Tensor  # float32: softmax of the logits (the root's with noise, under pUCT)
    reward: torch.Tensor  # float32: gained on the way into the child
    value_sum: torch.Tensor  # float32: returns backed up through the child, its own network value included
    q: torch.Tensor  # float32: reward + discount * value_sum / visits; 0 where unvisited
    visits: torch.Tensor  # int32
    child: torch.Tensor  # int32: the child's node, or NO_CHILD

    # Nodes, [B, N].
    prefix: torch.Tensor  # float32: what the children's value prefixes are measured from; 0 where they start anew
    value: torch.Tensor  # float32: the network's value
    parent: torch.Tensor  # int32; the root's is never read
    parent_action: torch.Tensor  # int32: the edge that leads here

    # Roots, [B].
    value_total: torch.Tensor  # float32: the root's network value and all returns backed up to it
    q_min: torch.Tensor  # float32: the least q of any edge after any backup, +inf before the first
    q_max: torch.Tensor  # float32: the largest, -inf before the first

    # The simulation under way: written by select, read by the model's caller and by expand_backup.
    action: torch.Tensor  # [S, B] int64: the leaf's action, one row a simulation
    parent_row: torch.Tensor  # [B] int64: parent * B + root, where node-major storage keeps the parent's latent
    reset: torch.Tensor  # [B] bool: the leaf's depth is a multiple of the prefix horizon

    @property
    def num_simulations(self) -> int:
        return self.action.shape[0]

    def numpy(self) -> dict[str, np.ndarray]:
        """The arrays by name, sharing memory (CPU only)."""
        return {field.name: getattr(self, field.name).numpy() for field in fields(self)}


def plant(prior: torch.Tensor, value: torch.Tensor, *, num_simulations: int) -> Tree:
    """Trees of one expanded root each, with room for `num_simulations` more nodes.

    prior: [B, A] float32; value: [B] float32.
    """
    batch, actions = prior.shape
    nodes = num_simulations + 1
    device = prior.device

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    tree = Tree(
        prior=empty(batch, nodes, actions),
        reward=empty(batch, nodes, actions),
        value_sum=empty(batch, nodes, actions),
        q=empty(batch, nodes, actions),
        visits=empty(batch, nodes, actions, dtype=torch.int32),
        child=empty(batch, nodes, actions, dtype=torch.int32),
        prefix=empty(batch, nodes),
        value=empty(batch, nodes),
        parent=empty(batch, nodes, dtype=torch.int32),
        parent_action=empty(batch, nodes, dtype=torch.int32),
        value_total=value.clone(),
        q_min=torch.full((batch,), float("inf"), device=device),
        q_max=torch.full((batch,), float("-inf"), device=device),
        action=empty(num_simulations, batch, dtype=torch.int64),
        parent_row=empty(batch, dtype=torch.int64),
        reset=empty(batch, dtype=torch.bool),
    )
    clear_node(tree, 0)
    tree.prior[:, 0] = prior
    tree.prefix[:, 0] = 0.0
    tree.value[:, 0] = value
    return tree


def clear_node(tree: Tree, node: int) -> None:
    """Make a node of every root childless."""
    for edges in (tree.reward, tree.value_sum, tree.q, tree.visits):
        edges[:, node] = 0
    tree.child[:, node] = NO_CHILD


def ordered_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis from the lowest index up.

    The order is part of the kernels' definition: sums in another order differ in the last bit, and where the network
    values many states alike that bit would decide between actions.
    """
    total = x[..., 0]
    for i in range(1, x.shape[-1]):
        total = total + x[..., i]
    return total
