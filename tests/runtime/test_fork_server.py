"""Processes forked from a server: what they are like, how they end, and that none outlives the one who asked for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from speedyzero.runtime.fork_server import ForkServer, NotStarted, client
from speedyzero.system.stop_signals import STOP_SIGNALS
from tests.processes import is_gone, wait_for
from tests.supervisor import forked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(monkeypatch) -> Iterator[ForkServer]:
    monkeypatch.setenv("TOLD", "as it was when the server began")
    with ForkServer(["tests.supervisor.forked"]) as server:
        yield server


def test_exit_codes_come_in_whatever_the_order(server):
    begun = [server.start(forked.leave_with, (code,)) for code in (0, 3, None)]
    killed = server.start(forked.sleep_long, ())
    for process in reversed(begun):
        process.join()
    assert [process.exit_code for process in begun] == [0, 3, 0]
    assert killed.alive and killed.exit_code is None
    killed.kill()
    assert not killed.alive and killed.exit_code == -signal.SIGKILL and not killed.died_with_server


def test_an_exception_leaves_its_traceback(capfd):
    with ForkServer(["tests.supervisor.forked"]) as server:
        process = server.start(forked.fail, ())
        process.join()
    assert process.exit_code == 1
    assert "ArithmeticError: the reason" in capfd.readouterr().err


def test_a_process_is_the_server_s_with_ctrl_c_blocked(server, tmp_path, monkeypatch):
    monkeypatch.setenv("TOLD", "later")
    server.start(forked.tell, (tmp_path / "told",)).join()
    blocked = sorted(int(one) for one in STOP_SIGNALS)
    told = (tmp_path / "told").read_text()
    assert told == f"{server.pid} {blocked} False as it was when the server began"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "they are blocked here no longer than the server takes"


def test_a_server_that_dies_takes_its_own_along_and_another_takes_its_place(server):
    first, server_pid = server.start(forked.sleep_long, ()), server.pid
    os.kill(server_pid, signal.SIGKILL)
    first.join()
    assert first.exit_code == -signal.SIGKILL and first.died_with_server
    wait_for(partial(is_gone, first.pid))
    second = server.start(forked.leave_with, (7,))
    second.join()
    assert second.exit_code == 7 and server.pid != server_pid


def test_a_stopped_server_does_not_hold_up_a_kill(server, monkeypatch):
    monkeypatch.setattr(client, "KILLED_S", 0.5)
    process = server.start(forked.sleep_long, ())
    os.kill(server.pid, signal.SIGSTOP)
    process.kill()
    assert not process.alive
    wait_for(partial(is_gone, process.pid))


def test_a_kill_may_come_too_late(server):
    """The server has buried it, and the supervisor has not heard of it."""
    process = server.start(forked.leave_with, (5,))
    wait_for(lambda: not Path(f"/proc/{process.pid}").exists())
    listen = server.listen
    server.listen = lambda wait_s=0.0: None if wait_s == 0.0 else listen(wait_s)
    process.kill()
    assert process.exit_code == 5


def test_whoever_fell_with_the_server_is_gone_once_that_is_told(server):
    processes = [server.start(forked.hold_memory, ()) for _ in range(3)]
    os.kill(server.pid, signal.SIGKILL)
    processes[0].join()
    assert all(is_gone(process.pid) for process in processes)


def test_a_start_may_be_interrupted(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOW_IMPORT_HAS_BEGUN", str(tmp_path / "begun"))
    with ForkServer(["tests.supervisor.slow_import"]) as server:
        assert not server.ready(interrupted=(tmp_path / "begun").exists)


def test_what_cannot_be_imported_is_an_error(capfd):
    with ForkServer(["speedyzero.no_such_module"]) as server, pytest.raises(NotStarted, match="exit code 1"):
        server.start(forked.leave_with, (0,))
    assert "no_such_module" in capfd.readouterr().err


def test_a_function_of_the_script_itself_is_refused(server, monkeypatch):
    monkeypatch.setattr(forked.fail, "__module__", "__main__")
    with pytest.raises(ValueError, match="put it into a module"):
        server.start(forked.fail, ())


def test_closing_leaves_nobody(server):
    process = server.start(forked.sleep_long, ())
    server.close()
    assert not process.alive
    wait_for(partial(is_gone, process.pid))
    wait_for(partial(is_gone, server.pid))


@pytest.mark.parametrize("module", ["tests.supervisor.slow_import", "tests.supervisor.forked"])
def test_all_die_with_the_one_who_asked(module, tmp_path, monkeypatch):
    """In the middle of the server's imports, too."""
    is_slow, begun = module.endswith("slow_import"), tmp_path / "begun"
    monkeypatch.setenv("SLOW_IMPORT_HAS_BEGUN", str(begun))
    command = [sys.executable, "-m", "tests.supervisor.lost_parent", module]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(1 if is_slow else 2)]
        wait_for(lambda: begun.exists() or not is_slow)
        parent.kill()
    for pid in pids:
        wait_for(partial(is_gone, pid))


def test_a_machine_that_forks_no_more_is_told():
    with ForkServer(["tests.supervisor.forked", "tests.supervisor.no_forks"]) as server:
        with pytest.raises(NotStarted, match="fork: .*Resource temporarily unavailable"):
            server.start(forked.sleep_long, ())
        assert server.ready(), "the server lives on"
