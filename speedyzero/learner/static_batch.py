"""A batch at fixed addresses, for a captured step. Called by `device_step.py`.

Axes: B batch, C channels, H W image.
"""

import torch

from speedyzero.learner.batch import Batch


class StaticBatch:
    """Buffers for batches shaped like an example; images are channels last, with a dtype and padding of their own."""

    def __init__(self, example: Batch, *, image_dtype: torch.dtype, pad_channels_to: int):
        """Images have image_dtype and are zero-padded to a multiple of pad_channels_to channels. Copies nothing yet."""
        self._pad_channels_to = pad_channels_to

        def memory(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dim() != 4:
                return torch.zeros_like(tensor)
            batch, channels, height, width = tensor.shape
            shape = (batch, height, width, self._padded(channels))
            return torch.zeros(shape, dtype=image_dtype, device=tensor.device).permute(0, 3, 1, 2)

        others = {
            name: torch.zeros_like(getattr(example, name))
            for name in ("action", "action_mask", "value", "prefix", "policy", "weight")
        }
        self.batch = Batch(root=memory(example.root), following=tuple(map(memory, example.following)), **others)

    def fill(self, batch: Batch) -> None:
        """Copy a batch in, with padded or unpadded images. Raises ValueError if shapes differ from the example's."""
        for (name, tensor), (_, memory) in zip(_tensors(batch), _tensors(self.batch), strict=True):
            if tensor.dim() == 4 and self._padded(tensor.shape[1]) == memory.shape[1]:
                memory = memory[:, : tensor.shape[1]]  # the other channels stay zero
            if memory.shape != tensor.shape:
                raise ValueError(
                    f"{name} is {list(tensor.shape)}, the step was made for {list(memory.shape)}: all must match"
                )
            memory.copy_(tensor, non_blocking=True)

    def _padded(self, channels: int) -> int:
        return -(-channels // self._pad_channels_to) * self._pad_channels_to


def _tensors(batch: Batch) -> list[tuple[str, torch.Tensor]]:
    fields = vars(batch).items()
    return [(name, one) for name, value in fields for one in (value if isinstance(value, tuple) else (value,))]
