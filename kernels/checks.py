"""Argument checks, made before a kernel is launched."""

from collections.abc import Sequence

import torch


def require(
    name: str, tensor: torch.Tensor | None, shape: Sequence[int], dtype: torch.dtype, *, has_gaps: bool = False
) -> None:
    """Raises ValueError unless the tensor is None, or contiguous with this shape and type.

    has_gaps: the row stride may exceed the row length.
    """
    if tensor is None:
        return
    lies_well = tensor.stride(-1) == 1 if has_gaps else tensor.is_contiguous()
    if tensor.shape != tuple(shape) or tensor.dtype != dtype or not lies_well:
        raise ValueError(f"{name} is {list(tensor.shape)} {tensor.dtype}, must be {list(shape)} {dtype}, contiguous")
