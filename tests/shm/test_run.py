import os
import pickle
import subprocess
import sys

import pytest

from speedyzero.shm import Run
from speedyzero.shm.liveness import ProcessId, claim, current_process, is_alive, place, process_of
from speedyzero.shm.run import run_id_of


def test_a_run_names_its_owner_and_no_two_are_equal():
    first, second = Run.new(), Run.new()
    assert first.run_id != second.run_id
    assert first.owner == current_process() and first.place == place()
    assert pickle.loads(pickle.dumps(first)) == first


def test_names_lead_back_to_the_run():
    run = Run.new()
    assert run_id_of(run.object_name("steps.0")) == run_id_of("sem." + run.object_name("steps.items")) == run.run_id
    for other in (
        "speedyzero",
        "speedyzero.1-2-3-4.x",
        run.object_name("a") + "/",
        "x" + run.object_name("a"),
        "sem.abc",
    ):
        assert run_id_of(other) is None


@pytest.mark.parametrize("name", ["", ".a", "A", "a/b", "a b"])
def test_bad_object_names(name):
    with pytest.raises(AssertionError):
        Run.new().object_name(name)


def test_bad_directories(tmp_path):
    with pytest.raises(ValueError, match="no such directory"):
        Run.new(tmp_path / "none")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ValueError, match="mode 777"):
        Run.new(open_to_all)
    open_to_all.chmod(0o1777)  # as /tmp: others may write beside our files, but not replace them
    Run.new(open_to_all)


def test_liveness_is_pid_and_start_time():
    me = current_process()
    assert is_alive(me)
    assert not is_alive(ProcessId(me.pid, me.start_ticks - 1)), "an earlier process of the same pid"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = process_of(child.pid)
    assert process is not None and is_alive(process)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(process), "a zombie is dead"
    child.wait()
    assert process_of(child.pid) is None


def test_a_claim_is_refused_while_its_holder_lives():
    words = memoryview(bytearray(32)).cast("Q")
    claim(words, 1, what="it")
    claim(words, 1, what="it")
    assert (words[1], words[2]) == (os.getpid(), current_process().start_ticks) and words[0] == words[3] == 0
    parent = process_of(os.getppid())
    assert parent is not None
    words[1], words[2] = parent.pid, parent.start_ticks
    with pytest.raises(ValueError, match=f"process {parent.pid} holds it"):
        claim(words, 1, what="it")
    words[2] -= 1
    claim(words, 1, what="it")
    assert words[1] == os.getpid()
