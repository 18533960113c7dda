"""The search trees of a batch of roots as a structure of arrays. Planted by `speedyzero.search`, grown by the kernels.

Axes: B roots, N = S + 1 nodes, A actions, S simulations. Node 0 is the root; simulation k adds node k + 1, so a node's
index tells when it was made. An edge (node, action) holds the statistics of the child that it leads to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch

NO_CHILD = -1


@dataclass(frozen=True)
class Tree:
    """Rows of nodes not made yet are uninitialised."""

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

    @cached_property
    def numpy(self) -> dict[str, np.ndarray]:
        """The arrays by name, sharing memory (CPU only)."""
        return {field.name: getattr(self, field.name).numpy() for field in fields(self)}


def plant(prior: torch.Tensor, value: torch.Tensor, *, num_simulations: int) -> Tree:
    """Trees of one expanded root each, with room for `num_simulations` more nodes.

    prior: [B, A] float32; value: [B] float32.
    """
    (batch, actions), device = prior.shape, prior.device
    nodes = num_simulations + 1
    edge_count, node_count = batch * nodes * actions, batch * nodes
    # One allocation: many would go back to the system after each search, which clears them page by page for the next.
    memory = torch.empty(6 * edge_count + 4 * node_count + 3 * batch, device=device)
    edge_memory, node_memory, root_memory = memory.split([6 * edge_count, 4 * node_count, 3 * batch])
    edges = edge_memory.view(6, batch, nodes, actions)
    edges[:4, :, 0] = 0.0  # the integer 0 and the float 0.0 are the same bits
    visits, q, value_sum, reward, prior_edges, child = edges.unbind()
    prefix, node_value, parent, parent_action = node_memory.view(4, batch, nodes).unbind()
    value_total, q_min, q_max = root_memory.view(3, batch).unbind()
    tree = Tree(
        prior=prior_edges,
        reward=reward,
        value_sum=value_sum,
        q=q,
        visits=visits.view(torch.int32),
        child=child.view(torch.int32),
        prefix=prefix,
        value=node_value,
        parent=parent.view(torch.int32),
        parent_action=parent_action.view(torch.int32),
        value_total=value_total,
        q_min=q_min,
        q_max=q_max,
        action=torch.empty((num_simulations, batch), dtype=torch.int64, device=device),
        parent_row=torch.empty(batch, dtype=torch.int64, device=device),
        reset=torch.empty(batch, dtype=torch.bool, device=device),
    )
    tree.prior[:, 0] = prior
    tree.child[:, 0] = NO_CHILD
    tree.prefix[:, 0] = 0.0
    tree.value[:, 0] = value
    value_total.copy_(value)
    q_min.fill_(math.inf)
    q_max.fill_(-math.inf)
    return tree


def ordered_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis from the lowest index up.

    The order is part of the kernels' definition: sums in another order differ in the last bit, and where the network
    values many states alike that bit would decide between actions.
    """
    total = x[..., 0]
    for i in range(1, x.shape[-1]):
        total = total + x[..., i]
    return total
