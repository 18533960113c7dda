"""Nodes meet in one store: two of them in threads of this process. What one refuses, all refuse with the same line."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from speedyzero.nodes import watch as watch_module
from speedyzero.nodes.launch import Launch
from speedyzero.nodes.meeting import Meeting
from speedyzero.nodes.share import Share
from speedyzero.nodes.watch import DONE, FOLLOWS, INTERRUPTED, Elsewhere, Watch, Written
from speedyzero.supervisor import process, train
from tests.nodes.two_agents import free_port

LIMIT_S = 30.0


@pytest.fixture
def meetings() -> list[Meeting]:
    port = free_port()
    return at_once(*(lambda node=node: Meeting(Launch(Share(node, 2), "127.0.0.1", port)) for node in range(2)))


def at_once(*calls: Callable) -> list:
    """The results of calls that wait for one another, or the ValueErrors that they raised."""

    def result(call: Callable) -> object:
        try:
            return call()
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(result, calls, timeout=LIMIT_S))


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_equal_settings_and_a_shared_disk(meetings, tmp_path):
    settings = {"gpus": 8, "run_dir": "", "shm_dir": "/a"}
    assert at_once(
        lambda: meetings[0].compare(settings), lambda: meetings[1].compare(settings | {"shm_dir": "/b"})
    ) == [None, None]
    run_dir = tmp_path / "run"
    assert at_once(
        lambda: meetings[0].take_directory(lambda: run_dir.mkdir() or run_dir),
        lambda: meetings[1].take_directory(lambda: pytest.fail("node 0 creates it")),
    ) == [None, None]
    assert [meeting.run_dir for meeting in meetings] == [run_dir, run_dir / "nodes" / "1"]
    assert sorted(path.name for path in run_dir.rglob("*")) == ["1", "agents.json", "nodes"]
    assert meetings[0].has_begun(run_dir) and not meetings[0].has_begun(tmp_path)
    (run_dir / "nodes" / "agents.json").write_text('["of another job"]')
    assert not meetings[0].has_begun(run_dir)


def test_other_settings_are_named_with_both_values(meetings):
    host = socket.gethostname()
    lines = at_once(lambda: meetings[0].compare({"gpus": 8}), lambda: meetings[1].compare({"gpus": 4}))
    assert lines == [f"node 1 ({host}): gpus=4, node 0 has 8: give all nodes the same arguments"] * 2


def test_bad_input_on_one_node_is_reported_on_all(meetings):
    lines = at_once(
        lambda: meetings[0].compare({"gpus": 8}), lambda: meetings[1].compare({}, "gpus=8, but 4 visible here")
    )
    assert lines[0] == lines[1] and lines[0].endswith("gpus=8, but 4 visible here") and lines[0].startswith("node 1 (")


def test_a_disk_that_is_not_shared_is_refused(meetings, tmp_path, monkeypatch):
    """Node 1 does not see what node 0 creates."""
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.parent.name != "nodes" and exists(path))
    (tmp_path / "run").mkdir()
    lines = at_once(
        lambda: meetings[0].take_directory(lambda: tmp_path / "run"), lambda: meetings[1].take_directory(Path)
    )
    assert lines[0] == lines[1] and "must be on a disk that all nodes share" in lines[0]


def test_a_directory_that_node_0_cannot_create_is_reported_on_all(meetings):
    def refused() -> Path:
        raise ValueError("run directory x is not empty")

    lines = at_once(lambda: meetings[0].take_directory(refused), lambda: meetings[1].take_directory(Path))
    assert lines[0] == lines[1] and lines[0].endswith("run directory x is not empty")


@pytest.fixture
def watches(meetings) -> Iterator[list[Watch]]:
    made = [Watch(meeting) for meeting in meetings]
    yield made
    for one in made:
        one._is_left = True


def test_a_reason_reaches_the_other_node(watches):
    first, second = watches
    second.poll(env_steps=70)
    until(lambda: first.env_steps_elsewhere == 70)
    assert first.poll() == second.poll() == ""
    second.publish("learner-0 died by signal SIGKILL")
    until(first.poll)
    line = first.end(FOLLOWS)
    assert line.startswith("node 1 (") and line.endswith("): learner-0 died by signal SIGKILL")
    until(lambda: second._seen[0].reason)
    assert second.poll() == "", "a node that follows accuses nobody"


def test_written_files_are_reported_to_the_first_node(watches):
    first, second = watches
    name, entry = second.name(1), {"bytes": 1, "sha256": "ab"}
    assert first.written_elsewhere(40) == Elsewhere(awaited=(name,)) and first.may_report()
    second.publish_written(Written(40, {"replay_1.json": entry}))
    until(lambda: not first.written_elsewhere(40).awaited)
    assert first.written_elsewhere(40) == Elsewhere({"replay_1.json": entry})
    assert first.written_elsewhere(50).awaited == (name,)
    second.publish_written(Written(50))
    second.publish("RunFailed: after that")
    until(first.poll)
    assert first.written_elsewhere(50) == Elsewhere(failed=(name,)) and not first.may_report()


def test_an_interrupt_reaches_the_other_node_once(watches):
    first, second = watches
    caught = []
    before = signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
    try:
        second.publish(INTERRUPTED)
        until(lambda: first.poll() or caught)
        assert first.poll() == "" and caught == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_interrupt_is_published_before_the_own_processes_are_stopped(monkeypatch):
    """Else its learner, which leaves, would wait for those of a node in the head start, which make no agreement."""
    calls: list[str] = []
    for name, value in {"done": False, "env_steps": 0, "train_steps": 0, "start": lambda _: None}.items():
        monkeypatch.setattr(process.ProcessRoles, name, value)
    monkeypatch.setattr(process.ProcessRoles, "close", lambda _: calls.append("processes are stopped"))
    monkeypatch.setattr(process, "agent_lives", lambda for_s: True)
    keeper = SimpleNamespace(note=lambda _: None, progress=lambda **_: None)
    session = SimpleNamespace(
        keeper=keeper, interrupts=SimpleNamespace(count=1), profiler=SimpleNamespace(stop=lambda: None)
    )
    roles = object.__new__(process.ProcessRoles)
    roles._session, roles._nodes = session, SimpleNamespace(publish=calls.append)
    train._run(session, roles)
    assert calls == [INTERRUPTED, "processes are stopped"]


def test_how_the_context_is_left_is_the_reason(watches):
    first, second = watches
    with pytest.raises(OSError), second:
        raise OSError("disk full")
    until(first.poll)
    assert first.poll().endswith("OSError: disk full")
    with first:
        pass
    assert first._reason == DONE
    assert not first._thread.is_alive() and not second._thread.is_alive(), "in a store's call at exit it would abort"


def test_a_store_that_never_answers_is_judged_by_the_own_clock(watches, monkeypatch):
    """As over a link that is cut: the call under way does not return. A supervisor that was stopped blames nobody."""
    monkeypatch.setattr(watch_module, "LOST_S", 3.0)
    second, stuck = watches[1], threading.Event()
    until(lambda: second._seen[0].beat > 1)

    def never(*_: object) -> None:
        stuck.wait(LIMIT_S)
        raise RuntimeError("the test is over")

    monkeypatch.setattr(second, "_store", SimpleNamespace(set=never, multi_get=never))
    until(lambda: second.poll() or second._silent_s[0] > 0.7)
    second._polled_s -= 1000.0
    assert second.poll() == ""
    until(second.poll)
    assert second.poll().startswith("node 0 (") and second.poll().endswith("not heard of for 3 s")
    stuck.set()


def test_a_store_that_is_gone_is_the_death_of_node_0(watches, monkeypatch):
    def gone(*_: object) -> None:
        raise RuntimeError("Connection reset by peer\nframes")

    monkeypatch.setattr(watches[1], "_store", SimpleNamespace(set=gone, multi_get=gone))
    until(watches[1].poll)
    line = watches[1].end(FOLLOWS)
    assert line.startswith("node 0 (") and line.endswith("serves the store, is gone (Connection reset by peer)")
