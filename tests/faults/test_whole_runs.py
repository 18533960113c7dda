"""Two whole runs at once: one loses its supervisor, the other is interrupted. Contract rows 6 to 9 and 19."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.observe.metrics import read_metrics
from speedyzero.shm.run import SHM_MOUNT
from speedyzero.supervisor.resume import find_resumable
from speedyzero.supervisor.space import wire_where_it_fits
from tests.faults.intruder import attack
from tests.faults.ring_contract import is_soak, reached, trials
from tests.faults.sockets import inet_sockets
from tests.faults.whole_run import WholeRun

ENDLESS = ("schedule.train_steps=100000", "schedule.env_steps=400000")


@dataclass(frozen=True)
class Pair:
    """Started at the same moment."""

    orphaned: WholeRun
    interrupted: WholeRun
    run_dir: Path  # of the interrupted one

    @classmethod
    def start(cls, folder: Path, stack: ExitStack, *of_the_second: str) -> Pair:
        first = stack.enter_context(WholeRun.start(folder / "one", *ENDLESS))
        second = stack.enter_context(WholeRun.start(folder / "two", *ENDLESS, *of_the_second))
        return cls(first, second, folder / "two")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both at work, the second with two learner ranks. The last test of this file ends them."""
    with ExitStack() as stack:
        pair = Pair.start(tmp_path_factory.mktemp("pair"), stack, "learner.ranks=2")
        for run in (pair.orphaned, pair.interrupted):
            run.wait_for_step(1)
        yield pair


@pytest.mark.contract(9)
def test_no_process_of_one_run_has_anything_of_the_other(pair):
    for run in (pair.orphaned, pair.interrupted):
        mapped = run.mapped()
        assert set().union(*mapped.values()) == {run.wiring.run.run_id}
        users, roles = [pid for pid, ids in mapped.items() if ids], len(run.wiring.processes)
        assert (len(users), len(mapped)) == (roles + 1, roles + 2), "all but the fork server, which has none of it"
    reached(9, "2 whole runs at once: no process has mapped anything of the other run")


@pytest.mark.contract(19)
def test_only_a_group_of_learners_holds_internet_sockets_and_those_on_loopback(pair):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ours = [(one.port, one.listens, one.is_loopback) for one in inet_sockets([os.getpid()])]
        assert (port, True, True) in ours, "the scan must find what is there"
    assert inet_sockets(pair.orphaned.group()) == []
    of_a_group = inet_sockets(pair.interrupted.group())
    assert any(one.listens for one in of_a_group) and all(one.is_loopback for one in of_a_group), of_a_group
    reached(19, counts={"runs whose sockets were scanned": 1})


@pytest.mark.contract(19)
def test_another_user_can_do_nothing_to_a_run(pair):
    paths = [SHM_MOUNT / name for name in pair.interrupted.shared_names()]
    assert len(paths) > 10
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_uid == os.geteuid()
    own = SHM_MOUNT / f"speedyzero-test.{os.getpid()}"
    own.touch()
    own.chmod(0o644)
    try:
        assert "read " + str(own) in attack([own]), "the attack must work where it may"
    finally:
        own.unlink()
    assert attack(paths) == []
    reached(19, counts={"runs that a second uid attacked": 1})


@pytest.mark.contract(6, 7, 8, 9)
def test_one_that_loses_its_supervisor_and_one_that_is_interrupted(pair, tmp_path):
    """The first loses it at work or in the middle of the start. It ends `pair`: the last test of this file."""
    worst_s, ended_s, interruptions = 0.0, 0.0, [0, 0]
    for trial in trials(6, 20 if is_soak() else 10):
        rng, at_work, more = random.Random(trial), trial % 2 == 0, trial // 2 % 2
        with ExitStack() as stack:
            own = Pair.start(tmp_path / f"{trial}", stack) if trial else pair
            worst_s = max(worst_s, lose_supervisor(own.orphaned, rng, at_work=at_work))
            own.interrupted.wait_for_step(1)
            kept = own.interrupted.shared_names()
            wire_where_it_fits(own.orphaned.config)  # what a start does first, also one of somebody else meanwhile
            assert own.orphaned.shared_names() == [] and own.interrupted.shared_names() == kept
            ended_s = max(ended_s, interrupt(own.interrupted, own.run_dir, rng, more=more))
        interruptions[more] += 1
    count = trial + 1
    reached(6, counts={"supervisors killed": count}, worst_s=worst_s)
    counts = {"interrupted once": interruptions[0], "interrupted twice": interruptions[1]}
    reached(7, counts=counts, worst_s=ended_s)
    reached(8, counts={"dead whole runs": count})
    reached(9, counts={"starts of two whole runs": count})


def lose_supervisor(run: WholeRun, rng: random.Random, *, at_work: bool) -> float:
    """SIGKILL it; seconds until nobody of the run is left."""
    if at_work:
        run.wait_for_step(rng.randrange(1, 60))
    else:
        children = 1 + rng.randrange(3)
        run.wait_for(lambda: len(run.group()) > children and bool(run.shared_names()), "children")
    assert run.shared_names()  # a SIGKILL leaves all of them
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    started_s = time.monotonic()
    while run.group():
        assert time.monotonic() - started_s < 60, "somebody continues"
        time.sleep(0.01)
    return time.monotonic() - started_s


def interrupt(run: WholeRun, run_dir: Path, rng: random.Random, *, more: int) -> float:
    """Ctrl-C at work, `more` times again while it ends; seconds until it has ended."""
    run.wait_for_step(run.board.total("train_steps") + rng.randrange(1, 40))
    started_s = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)  # the whole group, as a terminal does
    for _ in range(more):
        time.sleep(rng.uniform(0, 2.5))
        os.killpg(run.process.pid, signal.SIGINT)
    output = run.ends(130)
    took_s = time.monotonic() - started_s
    assert "Traceback" not in output and "killed" not in output
    consumed = read_metrics(run_dir)["ring/batches.0-0/consumed"].values[-1]
    step = load_weights(newest(run_dir)).meta["step"]
    assert step == consumed if run.config.learner.ranks < 2 else consumed - 1 <= step <= consumed and step >= 1
    assert more or find_resumable(run_dir)[1].step == step
    return took_s
