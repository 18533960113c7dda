"""The supervisor's process never has a CUDA context: what it knows of GPUs, a child or NVML has read."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.env.registry import check_game
from speedyzero.runtime.wiring import wire
from speedyzero.shm import Run
from speedyzero.supervisor import placement_table
from speedyzero.system.gpus import Gpu, mps_runs, read_gpus

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("cc")


@pytest.mark.skipif(COMPILER is None, reason="no C compiler for a driver that is made up")
@pytest.mark.parametrize("fails", [0, 999])
def test_the_driver_is_asked_by_a_child(fails, tmp_path, monkeypatch):
    source = Path(__file__).with_name("fake_libcuda.c")
    made = [COMPILER, "-shared", "-fPIC", f"-DFAILS={fails}", "-o", tmp_path / "libcuda.so.1", source]
    subprocess.run(made, check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if fails:
        with pytest.raises(ValueError, match="the GPUs cannot be read: OSError: cuInit ended with CUDA error 999"):
            read_gpus()
    else:
        expected = [Gpu(f"H{index}", (1 + index) << 30, 80 << 30, (9, index)) for index in range(2)]
        assert read_gpus() == tuple(expected)


def test_without_a_driver_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if Path("/dev/nvidia0").exists():
        pytest.skip("here is one")
    with pytest.raises(ValueError, match="libcuda.so.1"):
        read_gpus()


# A CPU build that poses as one for CUDA, with every call into torch.cuda, torch.accelerator or a driver's library kept.
POSING = """
import json, sys, types
import torch, torch.accelerator, torch.cuda

calls = []

def keep(module):
    for name, value in list(vars(module).items()):
        if isinstance(value, types.FunctionType) and value.__module__.startswith(module.__name__):
            setattr(module, name, kept(f"{module.__name__}.{name}", value))

def kept(name, function):
    def call(*arguments, **named):
        calls.append(name)
        return function(*arguments, **named)
    return call

def note(event, arguments):
    if event == "ctypes.dlopen" and any(part in str(arguments[0]) for part in ("nvidia-ml", "libcuda")):
        calls.append(f"dlopen {arguments[0]}")

sys.addaudithook(note)
torch.version.cuda = "13.0"
torch.cuda._is_compiled = lambda: True
torch.cuda._lazy_init = lambda: calls.append("_lazy_init")
torch.cuda.mem_get_info = lambda *_: (80 << 30, 80 << 30)
torch.cuda.get_device_name = lambda *_: "H0"
torch._C._cuda_getCurrentRawStream = kept("_cuda_getCurrentRawStream", lambda *_: 0)
keep(torch.cuda)
keep(torch.accelerator)
torch.cuda._is_compiled = lambda: True
"""
PRELOADING_AND_SUPERVISING = """
import dataclasses, pathlib
import speedyzero.supervisor.preload
from speedyzero.system import gpus
from speedyzero.arguments.resolve import resolve
from speedyzero.observe.system import record_system
from speedyzero.supervisor import placement_table, space, train
import speedyzero.supervisor.crew

gpus.read_gpus = space.read_gpus = lambda: (gpus.Gpu("H0", 80 << 30, 80 << 30, (9, 0)),) * 2
config = dataclasses.replace(resolve("catch", "Catch", 0, 0, None, ["actor.envs=4"]), gpus=2)
wiring = space.wire_where_it_fits(config)
placement_table.print_placement(config, wiring)
record_system(pathlib.Path(sys.argv[1]), gpus=2)
sys.stdout.flush()
print(json.dumps([calls, torch.cuda.is_initialized()]))
"""


def test_neither_fork_server_nor_supervisor_calls_cuda(tmp_path):
    command = [sys.executable, "-c", POSING + PRELOADING_AND_SUPERVISING, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls, is_initialized = json.loads(done.stdout.splitlines()[-1])
    assert not is_initialized and [call for call in calls if call != "torch.cuda.is_initialized"] == []


@pytest.mark.parametrize("name", ["nvidia-cuda-mps", "nvidia-smi"])
def test_an_mps_daemon_is_seen(name):
    """A process of the daemon's name stands for it."""
    command = ["/bin/sh", "-c", f"printf %s {name} > /proc/self/comm; echo; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = mps_runs()
        process.communicate(b"\n")
    assert seen == (name == "nvidia-cuda-mps")


@pytest.mark.parametrize(("gpus", "runs"), [(0, True), (1, False), (1, True)])
def test_a_run_beside_an_mps_daemon_tells_the_risk(gpus, runs, monkeypatch, capsys):
    monkeypatch.setattr(placement_table, "mps_runs", lambda: runs)
    config = replace(resolve("catch", "Catch", 0, 0, None, []), gpus=gpus)
    game = check_game(config.env)
    placement_table.print_placement(config, wire(config, Run.new(), game.spec, game.num_actions))
    assert ("note: an MPS daemon runs" in capsys.readouterr().out) == (gpus > 0 and runs)
