"""A batch at fixed addresses."""

from dataclasses import replace

import pytest
import torch

from speedyzero.learner.batch import Batch
from speedyzero.learner.static_batch import StaticBatch
from tests.learner.test_trainer import random_batch
from tests.model.networks import IMAGE_SPEC
from tests.refusal import refusal


def widened(batch: Batch, *, channels: int, dtype: torch.dtype = torch.float32) -> Batch:
    """With channels of zeros, as a mirror gives them."""

    def image(x: torch.Tensor) -> torch.Tensor:
        wide = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))
        return wide.to(dtype).contiguous(memory_format=torch.channels_last)

    return replace(batch, root=image(batch.root), following=tuple(map(image, batch.following)))


@pytest.mark.parametrize("channels", [6, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("example_channels", [6, 16])
def test_images_are_padded_and_narrowed_or_come_so(channels, dtype, example_channels):
    example, plain = random_batch(IMAGE_SPEC, 0), random_batch(IMAGE_SPEC, 3)
    static = StaticBatch(widened(example, channels=example_channels), image_dtype=torch.bfloat16, pad_channels_to=16)
    static.fill(widened(plain, channels=channels, dtype=dtype))
    for stored, given in zip((static.batch.root, *static.batch.following), (plain.root, *plain.following), strict=True):
        assert stored.shape == (4, 16, 36, 36) and stored.dtype == torch.bfloat16
        assert stored.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(stored[:, :6], given.bfloat16()) and not stored[:, 6:].any()


def test_another_shape_is_refused():
    batch = random_batch(IMAGE_SPEC, 0)
    static = StaticBatch(batch, image_dtype=torch.float32, pad_channels_to=16)
    assert "value is [2, 4]" in refusal(static.fill, replace(batch, value=torch.zeros(2, 4)))
    assert "root is [4, 17, 36, 36]" in refusal(static.fill, widened(batch, channels=17))
