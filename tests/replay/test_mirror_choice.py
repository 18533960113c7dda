"""Which frames are mirrored, and where: by setting, by what is free, by what a frame is."""

import numpy as np
import pytest
import torch

from speedyzero.config import Config, PlacementConfig, ReplayConfig
from speedyzero.config.placement import place
from speedyzero.config.validation import validate
from speedyzero.env.base import ObservationSpec
from speedyzero.replay import mirror_choice
from speedyzero.replay.device_mirror import mirror_bytes
from speedyzero.replay.frames import HostFrames
from speedyzero.replay.mirror_choice import frame_sources, mirrors_on, wants_mirrors
from speedyzero.replay.shard import Shard, ShardShape
from tests.refusal import refusal

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
IMAGE = ObservationSpec((4, 4, 3), np.dtype(np.uint8))
VECTOR = ObservationSpec((4,), np.dtype(np.float32))


def config(setting: str = "auto", *, gpus: int = 1, **placement: tuple[int, ...]) -> Config:
    return Config(
        gpus=gpus, replay=ReplayConfig(device_mirror=setting), placement=PlacementConfig(kind="auto", **placement)
    )


def shard(spec: ObservationSpec) -> Shard:
    return Shard(ShardShape(2, 30, spec, num_actions=2, stack=2, lookahead=4))


@pytest.mark.parametrize(
    ("setting", "own", "together", "free", "expected"),
    [
        ("auto", 50, 100, 200, True),  # half of what is free
        ("auto", 50, 101, 200, False),
        ("auto", 50, 50, 99, False),
        ("off", 1, 1, 1000, False),
        ("on", 100, 200, 100, True),
    ],
)
def test_auto_leaves_half_of_what_is_free(setting, own, together, free, expected):
    assert wants_mirrors(setting, own_bytes=own, all_bytes=together, free_bytes=free) is expected


def test_asked_for_it_must_fit():
    line = refusal(wants_mirrors, "on", own_bytes=2001, all_bytes=2001, free_bytes=2000)
    assert "device_mirror=on" in line and "2,001" in line and "2,000" in line


def test_without_a_gpu_it_cannot_be_asked_for():
    assert "replay.device_mirror=on" in refusal(validate, config("on", gpus=0))
    for setting in ("auto", "off"):
        validate(config(setting, gpus=0))
    validate(config("on"))


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        (config(gpus=1), [2]),  # the learner's and the reanalyzer's
        (config(gpus=2), [2, 2]),
        (config(gpus=2, learners=(0,), shards=(1, 1), actors=(1, 1)), [2, 2]),
        (config(gpus=3, learners=(0, 1), shards=(2,), actors=(2,)), [1, 1, 1]),
    ],
)
def test_mirrors_of_a_gpu(placed, expected):
    assert [mirrors_on(place(placed), gpu) for gpu in range(placed.gpus)] == expected


class FakeMirror:
    def __init__(self, shard: Shard, device: torch.device, **options):
        self.shard, self.device, self.options = shard, device, options


@pytest.fixture
def free(monkeypatch):
    """Sets how many bytes the GPU, which is not there, has free."""
    monkeypatch.setattr(mirror_choice, "DeviceMirror", FakeMirror)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)

    def set_free(free_bytes: int) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free_bytes, 10 * free_bytes))

    return set_free


@pytest.mark.parametrize("device", [GPU, torch.device("cuda")])
def test_auto_counts_both_mirrors_of_the_gpu(free, device):
    image = shard(IMAGE)
    needed = 2 * mirror_bytes(image.shape)
    free(2 * needed)
    (source,) = frame_sources(config(), [image], device, dtype=torch.bfloat16, pad_channels_to=16)
    assert isinstance(source, FakeMirror) and source.shard is image and source.device == device
    assert source.options == {"dtype": torch.bfloat16, "pad_channels_to": 16}
    free(2 * needed - 1)
    (source,) = frame_sources(config(), [image], device)
    assert isinstance(source, HostFrames)
    (source,) = frame_sources(config("on"), [image], device)
    assert isinstance(source, FakeMirror)
    (source,) = frame_sources(config("off"), [image], device)
    assert isinstance(source, HostFrames)
    (source,) = frame_sources(config(gpus=0), [image], CPU)
    assert isinstance(source, HostFrames)


def test_vectors_stay_on_the_host(free):
    free(10**9)
    (source,) = frame_sources(config(), [shard(VECTOR)], GPU)
    assert isinstance(source, HostFrames)
    assert "device_mirror=on" in refusal(frame_sources, config("on"), [shard(VECTOR)], GPU)
