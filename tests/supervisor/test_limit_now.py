"""The bottleneck of the last seconds, off a board whose counters are set by hand."""

import mmap
import os
import time
from types import SimpleNamespace

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.runtime.wiring import role_of, waits_on
from speedyzero.shm import Board, remove_run
from speedyzero.supervisor.limit_now import Limit, NodesLimit, limit_of_processes
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.system.host_figures import core_wait_s, machine_cpu_s, own_memory_bytes
from tests.clock import Clock

NS = 1_000_000_000


@pytest.fixture
def wiring():
    wiring = wire_where_it_fits(
        resolve(
            "catch", "Catch", 0, 0, None, ["replay.shards=2", "learner.ranks=2", "schedule.head_start_env_steps=520"]
        )
    )
    yield wiring
    remove_run(wiring.run)


@pytest.fixture
def board(wiring) -> Board:
    return Board.create(wiring.run, wiring.board)


def pass_time(board: Board, clock: Clock, seconds: float, **waited: dict[str, float]) -> None:
    """waited: seconds by process (with _ for -) and wait."""
    clock.now_s += seconds
    for process, waits in waited.items():
        for wait, waited_s in waits.items():
            board.words[board.spec.word_of(process.replace("_", "-"), wait)] += int(waited_s * NS)


def test_waits_lead_to_the_bottleneck_and_old_ones_are_forgotten(wiring, board):
    clock = Clock()
    limit = limit_of_processes(wiring, board, clock=clock)
    assert limit.name() == ""
    reanalyzer_1_limits = {
        "actor_0": {"wait_pacing_ns": 3.5},
        "actor_1": {"wait_pacing_ns": 3.5},
        "reanalyzer_0": {"wait_space_ns": 3.0},
        "learner_0": {"wait_group_ns": 2.0},
        "learner_1": {"wait_input_ns": 2.0},
    }
    pass_time(board, clock, 4, **reanalyzer_1_limits)
    assert limit.name() == "reanalyzer-1"
    actor_0_limits = {
        "actor_1": {"wait_pacing_ns": 1.8},
        "reanalyzer_0": {"wait_space_ns": 1.9},
        "reanalyzer_1": {"wait_space_ns": 1.9},
        "learner_0": {"wait_pacing_ns": 1.5},
        "learner_1": {"wait_pacing_ns": 1.5},
    }
    for _ in range(8):
        pass_time(board, clock, 2, **actor_0_limits)
        limit.name()
    assert limit.name() == "actor-0"
    everybody = {process: {"wait_pacing_ns": 1.9} for process in ("actor_0", "actor_1", "learner_0", "learner_1")}
    spaces = {process: {"wait_space_ns": 1.9} for process in ("reanalyzer_0", "reanalyzer_1")}
    for _ in range(8):
        pass_time(board, clock, 2, **everybody, **spaces)
        limit.name()
    assert limit.name() == "pacing"


def test_turns():
    clock, busy_ns = Clock(), {"actor-0": 0, "learner-0": 0}
    limit = Limit(lambda: busy_ns, clock=clock)
    assert limit.name() == ""
    busy_ns["learner-0"] += 2 * NS
    busy_ns["actor-0"] += NS
    clock.now_s += 3
    assert limit.name() == "learner-0"


def test_every_wait_ends_by_whom_the_wiring_names(wiring):
    found = waits_on(wiring)
    assert set(found) == set(wiring.processes)
    assert found["actor-1"] == {"wait_pacing": ["learner-0", "learner-1"], "wait_space": ["reanalyzer-1"]}
    assert found["reanalyzer-0"] == {"wait_space": ["learner-0"], "wait_input": ["actor-0"]}
    assert found["learner-1"] == {
        "wait_pacing": ["actor-0", "actor-1"],
        "wait_space": ["reanalyzer-1"],
        "wait_input": ["reanalyzer-1"],
        "wait_group": ["learner-0"],
    }
    assert role_of("reanalyzer-10") == "reanalyzer"


def test_figures_of_this_process_and_this_machine():
    before_bytes, before_s = own_memory_bytes(os.getpid()), machine_cpu_s()
    block = mmap.mmap(-1, 64 * 2**20, flags=mmap.MAP_PRIVATE)  # an allocator may have freed memory left
    block.write(bytes(len(block)))
    grown_bytes = own_memory_bytes(os.getpid()) - before_bytes
    assert 0.9 * len(block) < grown_bytes < 3 * len(block)
    started_s = time.process_time()
    while time.process_time() - started_s < 0.1:
        pass
    assert machine_cpu_s() - before_s >= 0.08
    assert core_wait_s(os.getpid()) >= 0.0
    assert own_memory_bytes(2**22 + 1) is None and core_wait_s(2**22 + 1) is None  # beyond the largest pid


def test_the_node_that_all_wait_for_is_named_with_its_bottleneck(board):
    """Its learner is the one that waits least for the others. Two that wait alike name nobody."""

    class Nodes:
        other = ("actor-0", 0)

        def publish_limit(self, limit: str, waited_ns: int) -> None:
            self.own = (limit, waited_ns)

        def limits(self) -> tuple[list[str], list[int]]:
            return [self.own[0], self.other[0]], [self.own[1], self.other[1]]

        def name(self, node: int) -> str:
            return f"node {node} (there)"

    clock, nodes = Clock(), Nodes()
    limit = NodesLimit(SimpleNamespace(name=lambda: "learner-0"), board, nodes, clock=clock)
    names = [limit.name()]
    for own_s, other_s in ((3.0, 0.1), (0.0, 8.0), (8.0, 0.0)):
        pass_time(board, clock, 5.0, learner_0={"wait_group_ns": own_s})
        nodes.other = ("actor-0", nodes.other[1] + int(other_s * NS))
        names.append(limit.name())
    assert names == ["", "node 1 (there): actor-0", "node 0 (there): learner-0", ""]
