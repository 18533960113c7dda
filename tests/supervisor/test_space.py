"""What a run needs, to the page or at least, and what is refused with which words. Shared memory of every size:
tests/faults/test_tiny_shm.py."""

import math
from dataclasses import replace

import pytest

from speedyzero import cli
from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.runtime.wiring import wire
from speedyzero.shm import Run, SegmentError, remove_run, segment
from speedyzero.shm.run import SHM_MOUNT
from speedyzero.supervisor import space
from speedyzero.supervisor.process import create_shared
from speedyzero.supervisor.space import ROLE_BYTES
from speedyzero.system.gpus import Gpu
from speedyzero.system.memory_limits import MemoryLimit

PAGE = 4096
LIMIT = MemoryLimit("control group /job (memory.max)", 3 * 2**30, 2**30)


def config_of(*settings: str) -> Config:
    return resolve("catch", "Catch", 0, 0, None, list(settings))


def wired(config: Config):
    game = check_game(config.env)
    return wire(config, Run.new(config.shm_dir or None), game.spec, game.num_actions), game


def on_gpus(config: Config, count: int) -> Config:
    """The same settings for GPUs that are not here."""
    return replace(config, gpus=count)


@pytest.mark.parametrize("on_disk", [False, True])
def test_shared_memory_is_known_to_the_page(on_disk, tmp_path):
    wiring, _ = wired(config_of("actor.actors=2", "actor.envs=4", *([f"shm_dir={tmp_path}"] if on_disk else [])))
    try:
        create_shared(wiring)
        taken = {folder: 0 for folder in (wiring.run.directory, SHM_MOUNT)}
        for folder in taken:
            taken[folder] = sum(512 * path.stat().st_blocks for path in folder.glob(f"*{wiring.run.run_id}*"))
    finally:
        remove_run(wiring.run)
    need = space.shared_need(wiring)
    assert need.bells == 5 * PAGE
    if on_disk:
        assert taken == {tmp_path: need.segments, SHM_MOUNT: need.bells}
    else:
        assert taken == {SHM_MOUNT: need.segments + need.bells}


def test_nccl_s_segments_are_asked_for_where_it_makes_them(monkeypatch, tmp_path):
    """In /dev/shm, for ranks on several GPUs alone."""
    needs = [space.shared_need(wired(on_gpus(config_of("actor.envs=4"), gpus))[0]) for gpus in (0, 1, 2)]
    assert [need.nccl for need in needs] == [0, 0, 2 * space.NCCL_RANK_BYTES]
    free = {SHM_MOUNT: needs[2].always_in_shm, tmp_path: needs[2].segments}
    monkeypatch.setattr(segment, "free_bytes", lambda run: free[run.directory])
    space.require_shared(Run.new(tmp_path), needs[2])
    free[SHM_MOUNT] -= 1
    with pytest.raises(SegmentError, match="semaphores and NCCL's buffers stay in /dev/shm"):
        space.require_shared(Run.new(tmp_path), needs[2])
    with pytest.raises(SegmentError, match=f"needs {needs[2].segments + needs[2].always_in_shm:,} bytes"):
        space.require_shared(Run.new(), needs[2])


def test_the_least_that_a_run_takes():
    config = config_of("actor.actors=2", "actor.envs=4", "optimizer.name=adamw")
    wiring, game = wired(config)
    network = space.build_network(config, game.spec, game.num_actions)
    parameters = sum(math.prod(parameter.shape) for parameter in network.parameters())
    acting = sum(
        tensor.numel()
        for name, tensor in network.state_dict().items()
        if "predictor" not in name and "projector" not in name
    )
    parts = space.least_memory(config, wiring, game, shared_in_memory=True)
    assert parts == {
        "shared memory": space.shared_need(wiring).segments + 5 * PAGE,
        "4 processes": 4 * ROLE_BYTES,
        "networks": 4 * 4 * parameters + 3 * 2 * 4 * acting,  # weights, gradients, two moments; two copies each
    }
    on_disk = space.least_memory(config, wiring, game, shared_in_memory=False)
    assert on_disk == {name: size for name, size in parts.items() if name != "shared memory"}


def test_a_container_that_is_too_small_is_bad_input(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(space, "tightest_memory_limit", lambda: replace(LIMIT, free_bytes=50 * 2**20))
    words = ["--game", "Catch", "--gpus", "0", "--run-dir", str(tmp_path / "run")]
    line = refused(cli.check_train, words, prog="train.py")
    assert "control group /job (memory.max) has 52,428,800 free" in line and "of 3,072.0 MiB" in line
    parts = ("shared memory ", "3 processes 48.0 MiB", "--memory=", "replay.capacity_steps", "actor.actors", "shm_dir=")
    assert all(part in line for part in parts), line
    assert not (tmp_path / "run").exists()


def test_processes_are_counted_on_the_gpu_that_they_work_on(monkeypatch):
    config = on_gpus(config_of("learner.batch_size=32", "actor.envs=4"), 2)
    wiring, game = wired(config)
    assert set(wiring.devices.values()) == {"cuda:0", "cuda:1"}
    needed = space.least_gpu_memory(config, wiring, game)
    assert needed[0] == needed[1] > 3 * space.GPU_PROCESS_BYTES
    assert "networks" not in space.least_memory(config, wiring, game, shared_in_memory=True)
    free = {0: needed[0], 1: needed[1]}
    gpus = lambda: tuple(Gpu("H0", free[gpu], 80 * 2**30, (9, 0)) for gpu in sorted(free))  # noqa: E731
    monkeypatch.setattr(space, "read_gpus", gpus)
    space.require_gpu_memory(needed)
    free[1] -= 1
    with pytest.raises(ValueError, match=rf"{needed[1]:,} bytes .* on GPU 1, which has {free[1]:,} free .*nvidia-smi"):
        space.require_gpu_memory(needed)
    del free[1]
    with pytest.raises(ValueError, match="works on GPU 1, the driver knows 1 GPUs"):
        space.require_gpu_memory(needed)
    assert space.least_gpu_memory(config_of(), wired(config_of())[0], game) == {}
