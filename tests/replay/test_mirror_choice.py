"""Which frames are mirrored, and where: by setting, by what is free, by what a frame is."""

import numpy as np
import pytest
import torch

from speedyzero.config import Config, PlacementConfig, ReplayConfig
from speedyzero.config.placement import place
from speedyzero.config.validation import validate
from speedyzero.env.base import ObservationSpec
from speedyzero.replay import device_mirror
from speedyzero.replay.device_mirror import frame_sources, mirror_bytes
from speedyzero.replay.frames import HostFrames
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.supervisor.gpu_memory import mirrors_on
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
    monkeypatch.setattr(device_mirror, "DeviceMirror", FakeMirror)

    def set_free(free_bytes: int) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes, 10 * free_bytes))

    return set_free


@pytest.mark.parametrize("setting", ["on", "auto"])
def test_mirrors_must_fit(free, setting):
    image = shard(IMAGE)
    needed = 2 * mirror_bytes(image.shape)
    free(needed)
    source, _ = frame_sources(config(setting), [image, image], GPU, dtype=torch.bfloat16, pad_channels_to=16)
    assert isinstance(source, FakeMirror) and source.shard is image and source.device == GPU
    assert source.options == {"dtype": torch.bfloat16, "pad_channels_to": 16}
    free(needed - 1)
    line = refusal(frame_sources, config(setting), [image, image], GPU)
    assert f"device_mirror={setting}" in line and f"{needed:,}" in line and f"{needed - 1:,}" in line


def test_frames_stay_on_the_host_where_that_is_set_and_on_a_cpu():
    for settings, device in ((config("off"), GPU), (config(gpus=0), CPU)):
        (source,) = frame_sources(settings, [shard(IMAGE)], device)
        assert isinstance(source, HostFrames)


def test_vectors_stay_on_the_host(free):
    free(10**9)
    (source,) = frame_sources(config(), [shard(VECTOR)], GPU)
    assert isinstance(source, HostFrames)
    assert "device_mirror=on" in refusal(frame_sources, config("on"), [shard(VECTOR)], GPU)
