"""The model's states of every node of every tree.

Storage is node-major, [nodes * B, ...] for each key of the state: a simulation adds the same node to every tree, so
its states are one slice, and the parents' states are one gather of rows (node * B + root). Memory layouts such as
channels last are kept.

Axes: B roots, ... a state tensor's own axes.
"""

import torch

from speedyzero.search.interface import PREFIX_STATE, State


class LatentStore:
    """States of the root (node 0) and of further nodes as they are written."""

    def __init__(self, state: State, *, num_nodes: int, batch: int | None = None):
        """batch: number of roots, if greater than the given state's; None: the same."""
        self._buffers = {
            key: _NodeBuffer(tensor, num_nodes, batch=tensor.shape[0] if batch is None else batch)
            for key, tensor in state.items()
        }
        self._prefix_keys = [key for key in state if key.startswith(PREFIX_STATE)]
        self.write_root(state)

    def write_root(self, state: State) -> None:
        """The states [b, ...] of the first b <= B roots, and zeros for the others."""
        for key, buffer in self._buffers.items():
            copy_padded(buffer.slots[0], state[key])

    def gather(self, rows: torch.Tensor) -> State:
        """The states in those rows. rows: [B] int64, node * B + root."""
        return {key: buffer.gather(rows) for key, buffer in self._buffers.items()}

    def write(self, node: int, state: State) -> None:
        """Store a node's state of every root. Raises ValueError if a key is missing or a shape differs."""
        for key, buffer in self._buffers.items():
            buffer.slots[node].copy_(self._checked(key, state))

    def write_at(self, leaf: torch.Tensor, state: State, *, reset: torch.Tensor) -> None:
        """Store the states of the node whose number is in device memory; prefix states are zeroed where reset.

        leaf: [1] int64; reset: [B] bool. Raises ValueError as `write`.
        """
        for key, buffer in self._buffers.items():
            tensor = self._checked(key, state)
            if key in self._prefix_keys:
                tensor = tensor.masked_fill(reset.view(-1, *[1] * (tensor.ndim - 1)), 0)
            buffer.write_at(leaf, tensor)

    def _checked(self, key: str, state: State) -> torch.Tensor:
        tensor, slot = state.get(key), self._buffers[key].slots[0]
        if tensor is None or tensor.shape != slot.shape:
            found = "nothing" if tensor is None else list(tensor.shape)
            raise ValueError(f"state[{key!r}] of the recurrent function is {found}, the root's is {list(slot.shape)}")
        return tensor

    def reset_prefix(self, node: int, mask: torch.Tensor) -> None:
        """Zero the prefix state of a written node where the mask is set. mask: [B] bool."""
        for key in self._prefix_keys:
            slot = self._buffers[key].slots[node]
            slot.masked_fill_(mask.view(-1, *[1] * (slot.ndim - 1)), 0)


class _NodeBuffer:
    """One state tensor of every node, in the memory order of the root's."""

    def __init__(self, example: torch.Tensor, num_nodes: int, *, batch: int):
        order = _memory_order(example)  # of the axes behind B
        self._axes = None if order == sorted(order) else [0, *(1 + order.index(axis) for axis in sorted(order))]
        shape = [example.shape[axis] for axis in order]
        self._rows = torch.empty((num_nodes * batch, *shape), dtype=example.dtype, device=example.device)
        self._nodes = slots = self._rows.view(num_nodes, batch, *shape)
        self._order = order
        if self._axes is not None:
            slots = slots.permute(0, *(axis + 1 for axis in self._axes))
        self.slots = slots.unbind(0)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        gathered = self._rows.index_select(0, rows)
        return gathered if self._axes is None else gathered.permute(self._axes)

    def write_at(self, leaf: torch.Tensor, tensor: torch.Tensor) -> None:
        self._nodes.index_copy_(0, leaf, tensor.permute(0, *self._order).unsqueeze(0).to(self._nodes.dtype))


def copy_padded(target: torch.Tensor, rows: torch.Tensor) -> None:
    """Rows [b, ...] into the first b <= B of target [B, ...]; the others become zero."""
    count = rows.shape[0]
    target[:count].copy_(rows)
    if count < target.shape[0]:
        target[count:].zero_()


def _memory_order(tensor: torch.Tensor) -> list[int]:
    """The axes behind the batch axis, from the slowest in memory to the fastest; the given order where they tie."""
    strides = tensor.stride()
    return sorted(range(1, tensor.ndim), key=lambda axis: -strides[axis])
