"""A role's GPU is the current one before anything is launched, and whoever launches insists on it."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from speedyzero.arguments.resolve import resolve
from speedyzero.env.base import ObservationSpec
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.trainer import Trainer
from speedyzero.model.agent import Agent
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.runtime.role_process import ProcessSpec
from speedyzero.shm import remove_run
from speedyzero.supervisor.process import create_shared
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.system.current_device import require_current
from tests.kernels.compile_all import all_cases
from tests.model.networks import IMAGE_SPEC, tiny_config, tiny_network
from tests.supervisor import launches


def test_every_kernel_is_launched_on_the_device_of_its_tensors(tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    config = resolve("catch", "Catch", 0, 0, str(tmp_path / "run"), [])
    wiring = wire_where_it_fits(config)
    board, noted = create_shared(wiring), tmp_path / "launches.json"
    try:
        with ForkServer(["tests.supervisor.launches"]) as server:
            spec = ProcessSpec("learner-0", config, wiring, tmp_path, "cuda:3", threads=1)
            process = server.start(launches.launch_everything, (spec, noted))
            process.join()
            crash = tmp_path / "crash.learner-0.txt"
            assert process.exit_code == 0, crash.read_text() if crash.exists() else ""
            seen = json.loads(noted.read_text())
            assert {kernel for kernel, _, _ in seen} == {case.kernel.partition(":")[2] for case in all_cases()}
            assert [one for one in seen if one[1:] != [3, ["cuda:3"]]] == []
    finally:
        del board
        remove_run(wiring.run)


def an_agent(device: torch.device) -> None:
    Agent(tiny_config(), IMAGE_SPEC, 2, device=str(device))


def a_mirror(device: torch.device) -> None:
    spec = ObservationSpec((4, 4, 3), np.dtype(np.uint8))
    DeviceMirror(Shard(ShardShape(2, 30, spec, num_actions=2, stack=2, lookahead=4)), device)


def a_trainer(device: torch.device) -> None:
    Trainer(tiny_config(), tiny_network(IMAGE_SPEC), LoneLearner(), device=device)


@pytest.mark.parametrize("make", [an_agent, a_mirror, a_trainer])
def test_who_launches_is_made_on_the_current_device(monkeypatch, make):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(AssertionError, match="works on cuda:3, but cuda:0 is current"):
        make(torch.device("cuda:3"))


@pytest.mark.parametrize(("device", "is_right"), [("cpu", True), ("cuda", True), ("cuda:1", True), ("cuda:0", False)])
def test_the_cpu_and_whatever_is_current_are_always_right(monkeypatch, device, is_right):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with nullcontext() if is_right else pytest.raises(AssertionError):
        require_current(torch.device(device))
