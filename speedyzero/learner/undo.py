"""Take a step back on the device, where only the device knows whether it was a bad one.

Before a step all that it may change is copied; after it a flag on the device chooses, number by number, between what is
there and the copy. Both are whole memories side by side, so that a few kernels do it. Choosing is exact, whatever the
rejected side holds: NaN and infinity too. Called by `device_step.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

ALIGNMENT = 16  # numbers: every tensor begins where vectorised copies can


class Undo:
    """Keeps a set of tensors, which must stay where they are."""

    def __init__(self, tensors: Iterable[torch.Tensor]):
        by_type: dict[torch.dtype, list[torch.Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor.detach())
        self._kept = [_Kept(group) for group in by_type.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember everything as it is."""
        for kept in self._kept:
            torch._foreach_copy_(kept.before.parts, kept.tensors)

    @torch.no_grad()
    def restore_unless(self, good: torch.Tensor) -> None:
        """Put back what was kept, unless `good`, [] bool."""
        for kept in self._kept:
            torch._foreach_copy_(kept.after.parts, kept.tensors)
            torch.where(good, kept.after.whole, kept.before.whole, out=kept.after.whole)
            torch._foreach_copy_(kept.tensors, kept.after.parts)


class _Kept:
    """Tensors of one type, with two memories of their size."""

    def __init__(self, tensors: Sequence[torch.Tensor]):
        self.tensors = list(tensors)
        self.before, self.after = _Memory(tensors), _Memory(tensors)


class _Memory:
    """One memory with a place for each of some tensors, in that tensor's own order of numbers."""

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
