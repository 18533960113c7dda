"""Search trees of a batch of roots as a structure of arrays. Created by `speedyzero.search`, expanded by the kernels.

Axes: B roots, N = S + 1 nodes, A actions, S simulations. Node 0 is the root; simulation k adds node k + 1. An edge
(node, action) holds the statistics of its child.

Operations take the number of the simulation. Triton's read it from the first int32 of a tensor on the device: a kernel
that took the number itself would be recompiled for 1 and for multiples of 16, and a captured one could not be replayed
with another. All these tensors begin at multiples of 16 bytes, since Triton also specialises on alignment.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

NO_CHILD = -1

# Index of each field along the first axis of its kind's memory.
VISITS, Q, VALUE_SUM, REWARD, PRIOR, CHILD = range(6)
PREFIX, VALUE, PARENT, PARENT_ACTION = range(4)
VALUE_TOTAL, Q_MIN, Q_MAX = range(3)


@dataclass(frozen=True)
class TreeArrays:
    """A tree's memory as arguments of the CPU kernels: few arrays, since each adds to the cost of a call."""

    edge_floats: np.ndarray  # [6, B, N, A] float32
    edge_ints: np.ndarray  # [6, B, N, A] int32: the same memory
    node_floats: np.ndarray  # [4, B, N] float32
    node_ints: np.ndarray  # [4, B, N] int32: the same memory
    roots: np.ndarray  # [3, B] float32
    action: np.ndarray  # [S, B] int64
    parent_row: np.ndarray  # [B] int64
    reset: np.ndarray  # [B] bool


@dataclass(frozen=True)
class Tree:
    """Rows of nodes not yet created are uninitialised, as are reward and value_sum of edges without a child."""

    # Edges, [B, N, A].
    prior: torch.Tensor  # float32: softmax of the logits (the root's with noise, under pUCT)
    reward: torch.Tensor  # float32: of the transition to the child
    value_sum: torch.Tensor  # float32: returns backed up through the child, its own network value included
    q: torch.Tensor  # float32: reward + discount * value_sum / visits; 0 where unvisited
    visits: torch.Tensor  # int32
    child: torch.Tensor  # int32: the child's node, or NO_CHILD

    # Nodes, [B, N].
    prefix: torch.Tensor  # float32: subtracted from the children's value prefixes; 0 after a prefix reset
    value: torch.Tensor  # float32: the network's value
    parent: torch.Tensor  # int32; the root's is never read
    parent_action: torch.Tensor  # int32: the edge from the parent

    # Roots, [B].
    value_total: torch.Tensor  # float32: the root's network value and all returns backed up to it
    q_min: torch.Tensor  # float32: the least q of any edge after any backup, +inf before the first
    q_max: torch.Tensor  # float32: the largest, -inf before the first

    # The current simulation: written by select, read by the model's caller and by expand_backup.
    action: torch.Tensor  # [S, B] int64: the leaf's action, one row per simulation
    parent_row: torch.Tensor  # [B] int64: parent * B + root, the row of the parent's latent in node-major storage
    reset: torch.Tensor  # [B] bool: the leaf's depth is a multiple of the prefix horizon

    edges: torch.Tensor  # [6, B, N, A] float32: the memory of all edge fields
    nodes: torch.Tensor  # [4, B, N] float32: of all node fields
    roots: torch.Tensor  # [3, B] float32: of all root fields

    @property
    def num_simulations(self) -> int:
        return self.action.shape[0]

    @cached_property
    def arrays(self) -> TreeArrays:
        """The tree as numpy arrays that share its memory (CPU only)."""
        edges, nodes = self.edges.numpy(), self.nodes.numpy()
        return TreeArrays(
            edge_floats=edges,
            edge_ints=edges.view(np.int32),
            node_floats=nodes,
            node_ints=nodes.view(np.int32),
            roots=self.roots.numpy(),
            action=self.action.numpy(),
            parent_row=self.parent_row.numpy(),
            reset=self.reset.numpy(),
        )


def bare_tree(batch: int, actions: int, *, num_simulations: int, device: torch.device) -> Tree:
    """Uninitialised trees."""
    nodes = num_simulations + 1
    edge_count, node_count = 6 * batch * nodes * actions, 4 * batch * nodes
    # One allocation: several smaller ones would return to the system after each search, and new pages must be cleared.
    memory = torch.empty(edge_count + node_count + 3 * batch, device=device)
    edge_memory, node_memory, root_memory = memory.split([edge_count, node_count, 3 * batch])
    edge = edge_memory.view(6, batch, nodes, actions)
    node = node_memory.view(4, batch, nodes)
    root = root_memory.view(3, batch)
    edge_int, node_int = edge.view(torch.int32), node.view(torch.int32)
    return Tree(
        prior=edge[PRIOR],
        reward=edge[REWARD],
        value_sum=edge[VALUE_SUM],
        q=edge[Q],
        visits=edge_int[VISITS],
        child=edge_int[CHILD],
        prefix=node[PREFIX],
        value=node[VALUE],
        parent=node_int[PARENT],
        parent_action=node_int[PARENT_ACTION],
        value_total=root[VALUE_TOTAL],
        q_min=root[Q_MIN],
        q_max=root[Q_MAX],
        action=torch.empty((num_simulations, batch), dtype=torch.int64, device=device),
        parent_row=torch.empty(batch, dtype=torch.int64, device=device),
        reset=torch.empty(batch, dtype=torch.bool, device=device),
        edges=edge,
        nodes=node,
        roots=root,
    )


def replant(tree: Tree, prior: torch.Tensor, value: torch.Tensor) -> None:
    """Reset the tree to expanded roots only. prior: [B, A]; value: [B]."""
    tree.edges[VISITS : Q + 1, :, 0].zero_()  # visits and q: integer 0 and float 0.0 have the same bits
    tree.child[:, 0].fill_(NO_CHILD)
    tree.prior[:, 0] = prior
    tree.prefix[:, 0].zero_()
    tree.value[:, 0] = value
    tree.value_total.copy_(value)
    tree.q_min.fill_(math.inf)
    tree.q_max.fill_(-math.inf)


def ordered_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis from the lowest index up.

    The order is part of the kernels' definition: other orders differ in the last bit, which decides between actions
    if the network gives many states nearly equal values.
    """
    total = x[..., 0]
    for i in range(1, x.shape[-1]):
        total = total + x[..., i]
    return total
