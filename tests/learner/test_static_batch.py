"""A batch at fixed addresses."""

from dataclasses import replace

import pytest
import torch

from speedyzero.learner.batch import Batch
from speedyzero.learner.static_batch import StaticBatch

B, K, A = 3, 2, 4


def batch(*, seed: int = 0, channels: int = 12, dtype=torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def image() -> torch.Tensor:
        x = torch.zeros(B, channels, 5, 6).contiguous(memory_format=torch.channels_last)
        x[:, :12] = torch.rand(B, 12, 5, 6, generator=generator)
        return x.to(dtype)

    return Batch(
        root=image(),
        following=tuple(image() for _ in range(K)),
        action=torch.randint(A, (B, K), generator=generator),
        action_mask=torch.ones(B, K),
        value=torch.randn(B, K + 1, generator=generator),
        prefix=torch.randn(B, K, generator=generator),
        policy=torch.rand(B, K + 1, A, generator=generator),
        weight=torch.rand(B, generator=generator),
    )


def flat(batch: Batch) -> list[torch.Tensor]:
    return [batch.root, *batch.following, *list(vars(batch).values())[2:]]


def test_new_batches_go_to_the_same_place():
    static = StaticBatch(batch(), image_dtype=torch.float32, pad_channels_to=1)
    places = [tensor.data_ptr() for tensor in flat(static.batch)]
    for seed in (1, 2):
        static.fill(new := batch(seed=seed))
        assert all(torch.equal(a, b) for a, b in zip(flat(static.batch), flat(new), strict=True))
        assert all(a.dtype == b.dtype for a, b in zip(flat(static.batch), flat(new), strict=True))
    assert [tensor.data_ptr() for tensor in flat(static.batch)] == places


@pytest.mark.parametrize("channels", [12, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("example_channels", [12, 16])
def test_images_are_padded_and_narrowed_or_come_so(channels, dtype, example_channels):
    static = StaticBatch(batch(channels=example_channels), image_dtype=torch.bfloat16, pad_channels_to=16)
    static.fill(batch(seed=3, channels=channels, dtype=dtype))
    plain = batch(seed=3)
    for stored, given in zip((static.batch.root, *static.batch.following), (plain.root, *plain.following), strict=True):
        assert stored.shape == (B, 16, 5, 6) and stored.dtype == torch.bfloat16
        assert stored.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(stored[:, :12], given.bfloat16()) and not stored[:, 12:].any()


def test_vectors_are_left_as_they_are():
    example = replace(batch(), root=torch.rand(B, 7), following=())
    static = StaticBatch(example, image_dtype=torch.bfloat16, pad_channels_to=16)
    static.fill(example)
    assert torch.equal(static.batch.root, example.root) and static.batch.following == ()


def test_another_shape_is_refused():
    static = StaticBatch(batch(), image_dtype=torch.float32, pad_channels_to=16)
    with pytest.raises(ValueError, match=r"value is \[2, 3\], the step was made for \[3, 3\]"):
        static.fill(replace(batch(), value=torch.zeros(2, 3)))
    with pytest.raises(ValueError, match=r"root is \[3, 17, 5, 6\], the step was made for \[3, 16, 5, 6\]"):
        static.fill(batch(channels=17))
