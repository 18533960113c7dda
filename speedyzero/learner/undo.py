"""Undo a step depending on a flag in device memory.

Everything that a step may change is copied before it; afterwards the flag selects, element by element, the new values
or the copies. Both are contiguous, so a few kernels suffice. The selection is exact even if the rejected side holds NaN
or infinity. Called by `device_step.py`.
"""

from collections.abc import Iterable, Sequence

import torch

ALIGNMENT = 16  # elements: tensors start aligned for vectorised copies


class Undo:
    """Copies and restores a set of tensors, whose addresses must not change."""

    def __init__(self, tensors: Iterable[torch.Tensor]):
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor.detach())
        self._kept = [_Kept(group) for group in by_type.values()]

    @torch.no_grad()
    def keep(self) -> None:
        for kept in self._kept:
            torch._foreach_copy_(kept.before.parts, kept.tensors)

    @torch.no_grad()
    def restore_unless(self, good: torch.Tensor) -> None:
        """Restore the copies unless `good`, [] bool."""
        for kept in self._kept:
            torch._foreach_copy_(kept.after.parts, kept.tensors)
            torch.where(good, kept.after.whole, kept.before.whole, out=kept.after.whole)
            torch._foreach_copy_(kept.tensors, kept.after.parts)


class _Kept:
    """Tensors of one dtype, with two flat buffers of their size."""

    def __init__(self, tensors: Sequence[torch.Tensor]):
        self.tensors = list(tensors)
        self.before, self.after = _Memory(tensors), _Memory(tensors)


class _Memory:
    """A flat buffer with a view of each tensor's shape and strides."""

    def __init__(self, tensors: Sequence[torch.Tensor]):
        starts, size = [], 0
        for tensor in tensors:
            starts.append(size)
            size += -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
        self.whole = tensors[0].new_zeros(size)
        self.parts = [
            self.whole.as_strided(tensor.shape, tensor.stride(), start)
            for tensor, start in zip(tensors, starts, strict=True)
        ]
