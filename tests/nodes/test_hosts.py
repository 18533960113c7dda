"""Two hosts of namespaces: what falls, and how long until all have ended or continue. `make soak-nodes`, as root.

Each fall `TIMES` times; seconds are printed (`-s`).
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.rights import need_root
from tests.nodes.hosts import OnHosts, cut, network
from tests.nodes.two_agents import LONG, NEW

pytestmark = pytest.mark.skipif(os.environ.get("SOAK_NODES") is None, reason="SOAK_NODES=N, by make soak-nodes")
TIMES = int(os.environ.get("SOAK_NODES", "1"))
NAMED_S, LOST_S, SHORT_CUT_S = 10.0, 45.0, 8.0
NODE_1 = r"node 1 \(host1\): "


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[OnHosts]:
    """A run on two hosts that has saved a checkpoint, with a restart left."""
    need_root("make hosts of namespaces")
    hosts_file = tmp_path / "hosts"
    with (
        network(2, hosts_file),
        OnHosts(tmp_path / "nodes", tmp_path / "run", *NEW, *LONG, hosts_file=hosts_file, max_restarts=1) as nodes,
    ):
        nodes.wait_for_checkpoint(after=0)
        yield nodes


@pytest.mark.parametrize("trial", range(TIMES))
@pytest.mark.parametrize(
    ("process", "line"),
    [("learner-0", f"{NODE_1}learner-0 died by signal SIGKILL"), ("supervisor", rf"{NODE_1}not heard of for \d s")],
)
def test_a_death_is_named_and_training_goes_on(hosts, trial, process, line):
    os.kill(hosts.known[1][process], signal.SIGKILL)
    ended_s = hosts.wait_until_all_roles_end()
    step = hosts.saved_step
    more_s = hosts.wait_for(lambda: hosts.saved_step > step, "training to continue")
    print(f"\n{process}: all ended in {ended_s:.1f} s, training went on {more_s:.1f} s later")
    assert ended_s < NAMED_S and re.search(line, hosts.output(0)) and hosts.resumed_at == [step]


@pytest.mark.parametrize("trial", range(TIMES))
@pytest.mark.parametrize(
    ("fall", "limit_s", "line"),
    [
        ("agent", NAMED_S, f"{NODE_1}its torchrun agent has died"),
        ("host off", LOST_S, rf"{NODE_1}not heard of for \d+ s"),
        ("link cut", LOST_S, rf"{NODE_1}not heard of for \d+ s"),
        ("Ctrl-C", 15.0, "interrupted: saving and ending"),
    ],
)
def test_all_end_and_nothing_is_left(hosts, trial, fall, limit_s, line):
    if fall == "host off":
        hosts.switch_off(1)
    elif fall == "link cut":
        cut(1, is_cut=True)
    else:
        os.kill(hosts.known[1]["agent"], signal.SIGKILL if fall == "agent" else signal.SIGINT)
    ended_s = hosts.wait_until_all_roles_end()
    print(f"\n{fall}: all ended in {ended_s:.1f} s")
    assert ended_s < limit_s and re.search(line, hosts.output(0)), hosts.output(0)
    left = [path for node in range(2) if hosts.shm_dir(node).exists() for path in hosts.shm_dir(node).iterdir()]
    assert left == []


@pytest.mark.parametrize("trial", range(TIMES))
def test_a_short_cut_loses_nothing(hosts, trial):
    cut(1, is_cut=True)
    time.sleep(SHORT_CUT_S)
    cut(1, is_cut=False)
    step = hosts.saved_step
    more_s = hosts.wait_for(lambda: hosts.saved_step > step + 10, "training to continue")
    print(f"\ncut for {SHORT_CUT_S:.0f} s: training went on {more_s:.1f} s after it healed")
    assert hosts.resumed_at == [] and hosts.saved_step > step
