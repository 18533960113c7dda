"""stack_gather and augment_draws: both backends against the shard's gathers and the learner's augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernels.stack_gather import augment_draws, stack_gather
from speedyzero.config import LearnerConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.learner.augment import Augment
from speedyzero.model.observation import to_network_input
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.system import keyed_random
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

STACK, UNROLL, SEED, TRAIN_STEP = 4, 5, 11, 3
SHIFT_PX, INTENSITY_SCALE = 4, 0.05


def a_shard(*, height: int = 17, width: int = 19, channels: int = 3, stack: int = STACK) -> Shard:
    """Three lanes of noise, in which every third frame or so begins an episode."""
    spec = ObservationSpec((height, width, channels), np.dtype(np.uint8))
    shard = Shard(ShardShape(3, 24, spec, num_actions=2, stack=stack, lookahead=UNROLL))
    rng = np.random.default_rng(0)
    shard.frame[:] = rng.integers(256, size=shard.frame.shape)
    shard.first[:] = rng.random(shard.first.shape) < 0.3
    return shard


def positions(batch: int, *, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanes and steps, of which the rows went round the lane once or twice."""
    rng = np.random.default_rng(batch)
    return rng.integers(3, size=batch), rng.integers(rows, 3 * rows, size=batch)


def on(device: torch.device, *arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(device) for array in arrays]


def poisoned(batch: int, channels: int, height: int, width: int, device: torch.device) -> torch.Tensor:
    return torch.full((batch, height, width, channels), torch.nan, device=device).permute(0, 3, 1, 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("following", [0, 2])
@pytest.mark.parametrize("is_augmented", [False, True])
def test_numba_s_pixels_are_the_definition_s(channels, following, is_augmented):
    """To the bit, where rows go round the lane, episodes begin inside a stack, and a shift reaches over the edges."""
    shard, rng = a_shard(channels=channels), np.random.default_rng(1)
    lane, step = positions(40, rows=shard.rows)
    shift = rng.integers(-SHIFT_PX, SHIFT_PX + 1, size=(40, 2)).astype(np.int32)
    scale = (1.0 + 0.1 * rng.standard_normal(40)).astype(np.float32)
    augmentation = on(torch.device("cpu"), shift, scale) if is_augmented else [None, None]
    plain, fast = (
        stack_gather(
            *on(torch.device("cpu"), shard.frame, shard.first, lane, step),
            stack=STACK, following=following, skip=following, shift=augmentation[0], scale=augmentation[1],
            out=poisoned(40, 16, 17, 19, torch.device("cpu")), pad_channels_to=16, backend=backend,
        )
        for backend in ("reference", "numba")
    )  # fmt: skip
    assert torch.equal(fast, plain)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_is_the_rounded_float32(device, backend):
    shard = a_shard()
    lane, step = positions(63, rows=shard.rows)
    found = stack_gather(
        *on(device, shard.frame, shard.first, lane, step), stack=STACK, out_dtype=torch.bfloat16, backend=backend
    )
    expected = to_network_input(torch.from_numpy(shard.gather_stacks(lane, step))).bfloat16()
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stack", "height", "channels"), [(4, 6, 3), (1, 6, 1), (3, 20, 2)])
def test_windows_and_every_part_of_them(monkeypatch, device, backend, stack, height, channels):
    shard = a_shard(height=height, channels=channels, stack=stack)
    lane, step = positions(7, rows=shard.rows)
    window = to_network_input(torch.from_numpy(shard.gather_windows(lane, step, unroll_steps=UNROLL)))
    stored = on(device, shard.frame, shard.first, lane, step)
    seen = watch(monkeypatch, "kernels.stack_gather", reference="stack_gather", kernel="stack_gather_kernel")
    found = stack_gather(*stored, stack=stack, following=UNROLL, backend=backend)
    assert seen == [backend] and torch.equal(found.cpu(), window)
    for j in range(UNROLL + 1):  # the stack of unrolled state j
        found = stack_gather(*stored, stack=stack, following=j, skip=j, backend=backend)
        assert torch.equal(found.cpu(), window[:, j * channels : (j + stack) * channels])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("view", [0, 1])
def test_augmented_it_is_the_learners_input(monkeypatch, device, backend, view):
    """View 0: the root's stack; view 1: the frames after the window's first, as the consistency targets take them."""
    shard, batch = a_shard(), 7
    lane, step = positions(batch, rows=shard.rows)
    window = torch.from_numpy(shard.gather_windows(lane, step, unroll_steps=UNROLL))
    augment = Augment(LearnerConfig(shift_px=SHIFT_PX, intensity_scale=INTENSITY_SCALE), seed=SEED)
    frames = window[:, 1:] if view else window[:, :STACK]
    expected = augment(frames, train_step=TRAIN_STEP, view=view)

    draws = augment_draws(
        torch.tensor([TRAIN_STEP], device=device), batch=batch, seed=SEED, stream=keyed_random.AUGMENT, view=view,
        shift_px=SHIFT_PX, intensity_scale=INTENSITY_SCALE, backend=backend,
    )  # fmt: skip
    seen = watch(monkeypatch, "kernels.stack_gather", reference="stack_gather", kernel="stack_gather_kernel")
    found = stack_gather(
        *on(device, shard.frame, shard.first, lane, step), stack=STACK, following=view * UNROLL, skip=view,
        shift=draws.shift, scale=draws.scale, backend=backend,
    )  # fmt: skip
    assert seen == [backend]
    assert draws.shift.unique(dim=0).shape[0] > 3
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("seed", "train_step", "view", "rank"), [(0, 0, 0, 0), (2**40 + 7, 119_999, 1, 3)])
def test_draws_are_the_keyed_ones(monkeypatch, device, backend, seed, train_step, view, rank):
    """The kernel's and the host's; to the bit, but for the brightness, in which logarithms and cosines enter."""
    batch = 200
    seen = watch(monkeypatch, "kernels.stack_gather", reference="augment_draws", kernel="augment_draws_kernel")
    found = augment_draws(
        torch.tensor([train_step], device=device), batch=batch, seed=seed, stream=keyed_random.AUGMENT, view=view,
        first_sample=rank * batch, shift_px=SHIFT_PX, intensity_scale=INTENSITY_SCALE, backend=backend,
    )  # fmt: skip
    assert seen == [backend]
    keys = keyed_random.keys(seed, keyed_random.AUGMENT, train_step, view, rank * batch + np.arange(batch))
    draws = keyed_random.uniform(keys, 4)
    shift = (draws[:, :2].astype(np.float32) * (2 * SHIFT_PX + 1)).astype(np.int32).clip(max=2 * SHIFT_PX) - SHIFT_PX
    normal = np.sqrt(-2 * np.log(draws[:, 2])) * np.cos(2 * np.pi * draws[:, 3])
    assert np.abs(normal).max() > 2, "some are cut off"
    config = LearnerConfig(shift_px=SHIFT_PX, intensity_scale=INTENSITY_SCALE)
    here = {"train_step": train_step, "view": view, "device": torch.device("cpu")}
    for drawn in (found, Augment(config, seed=seed, rank=rank).draw(batch, **here)):
        np.testing.assert_array_equal(drawn.shift.cpu().numpy(), shift)
        np.testing.assert_allclose(drawn.scale.cpu().numpy(), 1 + INTENSITY_SCALE * normal.clip(-2, 2), rtol=1e-6)
    assert found.shift.unique(dim=0).shape[0] > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_beyond_2_31_bytes(device, backend):
    """Offsets into frames and the rows that they are made of. Pages that nobody touches take no memory on the CPU."""
    lanes, rows, shape = 3, 27_000, (96, 96, 3)
    frames = torch.empty((lanes, rows, *shape), dtype=torch.uint8, device=device)
    first = torch.zeros((lanes, rows), dtype=torch.bool, device=device)
    last_row = rows - 1
    assert ((lanes - 1) * rows + last_row - 1) * 96 * 96 * 3 > 2**31
    image = torch.randint(256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames[-1, last_row - 1 :] = image.to(device)
    step = torch.tensor([7 * rows + last_row], device=device)
    found = stack_gather(frames, first, torch.full_like(step, lanes - 1), step, stack=2, backend=backend)
    assert torch.equal(found.cpu(), to_network_input(image[None]))


def test_misfits_are_refused():
    frames, first = torch.zeros(2, 8, 3, 3, 1, dtype=torch.uint8), torch.zeros(2, 8, dtype=torch.bool)
    lane = step = torch.zeros(5, dtype=torch.int64)
    for named, stored, options in (
        ("8 rows", frames, {"following": 5}),
        ("float32", frames.float(), {}),
        ("shift is [5, 1]", frames, {"shift": torch.zeros(5, 1, dtype=torch.int32)}),
        ("out is", frames, {"out": torch.zeros(5, 4, 3, 3)}),
    ):
        assert named in refusal(stack_gather, stored, first, lane, step, stack=4, **options)
    draws = {"batch": 1, "seed": 0, "stream": 0, "view": 0, "shift_px": 0, "intensity_scale": 0.0}
    assert "train_step" in refusal(augment_draws, torch.tensor([1.0]), **draws)
