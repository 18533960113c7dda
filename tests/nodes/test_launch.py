"""A start that cannot work is refused in one line with what to type; only torchrun's agent is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest

from speedyzero import cli
from speedyzero.nodes.launch import ALONE, Launch, interface_to, launched
from speedyzero.nodes.share import Share
from speedyzero.supervisor import arguments
from speedyzero.supervisor.crew import LearnerGroupDied, RunFailed

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "pong",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
}


def test_a_node_of_two():
    assert launched(TORCHRUN) == Launch(Share(1, 2), "127.0.0.1", 29500, "lo")


def test_a_named_interface_is_used():
    assert launched(TORCHRUN | {"MASTER_ADDR": "nowhere.invalid", "GLOO_SOCKET_IFNAME": "eth7"}).interface == "eth7"


def test_without_torchrun_or_other_nodes_a_run_is_alone():
    without_run_id = {name: value for name, value in TORCHRUN.items() if name != "TORCHELASTIC_RUN_ID"}
    assert launched(without_run_id) is launched(TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"}) is ALONE


@pytest.mark.parametrize(
    ("changed", "what_to_type"),
    [
        ({"LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "16"}, "--nproc-per-node 1"),
        ({"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "0"}, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun"),
        ({"MASTER_ADDR": "nowhere.invalid"}, "GLOO_SOCKET_IFNAME"),
    ],
)
def test_other_ways_of_starting_are_bad_input(monkeypatch, capsys, changed, what_to_type):
    ended = []
    monkeypatch.setattr(cli, "end_agent", lambda: ended.append(True))
    for name, value in (TORCHRUN | changed).items():
        monkeypatch.setenv(name, value)
    assert cli.run(cli.check_train, ["--game", "Catch", "--gpus", "0"], prog="train.py") == cli.BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and what_to_type in error and ended == [True]


def test_a_name_that_leads_back_to_its_own_host_is_refused():
    """As 127.0.1.1, which Debian gives to a host's own name."""
    with pytest.raises(ValueError, match=r"127.0.1.1 is 127.0.1.1 on this host .* --local-addr ADDRESS"):
        interface_to("127.0.1.1")


def test_only_the_agent_is_ended():
    """The parent under torchrun; without it, or where another adopted this process, nobody."""
    program = "from speedyzero.nodes.launch import end_agent; end_agent()"
    parent = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {program!r}]).returncode)"
    codes = []
    for environment in ({}, {"TORCHELASTIC_RUN_ID": "pong"}):
        codes.append(subprocess.run([sys.executable, "-c", parent], env=os.environ | environment).returncode)
    assert codes == [0, -signal.SIGTERM]


@pytest.mark.parametrize(
    ("raised", "failed", "expected", "agents_ended"),
    [
        (KeyboardInterrupt(), "node 0 (there): gone", LearnerGroupDied, 0),
        (KeyboardInterrupt(), "", KeyboardInterrupt, 0),  # the command line ends the agent
        (LearnerGroupDied("learner-0 died"), "", LearnerGroupDied, 0),
        (RunFailed("diverged"), "", RunFailed, 1),
    ],
)
def test_what_torchrun_may_start_again(monkeypatch, raised, failed, expected, agents_ended):
    """Not after an interrupt; but a signal while another node has failed is torchrun's, which starts all again."""

    class Nodes:
        def end(self) -> str:
            return failed

    def train(*_: object, **__: object) -> None:
        raise raised

    ended = []
    monkeypatch.setattr("speedyzero.nodes.watch.Watch", lambda meeting: nullcontext(Nodes()))
    monkeypatch.setattr("speedyzero.supervisor.train.train", train)
    monkeypatch.setattr(arguments, "end_agent", lambda: ended.append(True))
    with pytest.raises((KeyboardInterrupt, RunFailed)) as caught:
        arguments._train_with_others(None, nullcontext(), None, resume=None, profile=None)
    assert type(caught.value) is expected and len(ended) == agents_ended and failed in str(caught.value)
    is_ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert is_ignored == (expected is LearnerGroupDied), "another signal of torchrun's would end this process first"
