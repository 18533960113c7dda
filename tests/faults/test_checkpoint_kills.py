"""A save that is killed at any of its system calls leaves a checkpoint to continue from: the old one or the new."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from speedyzero.supervisor.resume import find_resumable
from tests.faults.inline_runs import advance
from tests.faults.rights import go_without
from tests.faults.ring_contract import is_soak, reached
from tests.faults.small_run import NEWER, copy_of, resumed, save

CALLS = ("rename", "write", "pwrite64", "fsync", "unlink", "mkdir", "rmdir")
TENTH = 10  # every so manieth call outside of a soak


@pytest.fixture
def strace() -> None:
    if shutil.which("strace") is None:
        go_without("strace is not installed: nothing else kills at a chosen system call")


def killed_at(call: str, number: int, run_dir: Path) -> bool:
    """Save in a child that is killed as it enters its n-th such call; False where it made fewer and ended well."""
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(go_write)
            run = resumed(run_dir)
            advance(run, to_step=NEWER + 2)
            os.read(go_read, 1)
            status = len(save(run, run_dir))
        finally:
            os._exit(status)
    os.close(go_read)
    tracer = subprocess.Popen(
        ["strace", "-p", str(child), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    os.write(go_write, b"!")
    os.close(go_write)
    _, status = os.waitpid(child, 0)
    rest = tracer.communicate()[1]
    assert "attached" in line, line + rest
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{call} {number}: {status}\n{rest}"
    return os.WIFSIGNALED(status)


@pytest.mark.contract(11)
def test_killed_at_every_system_call(made, tmp_path, strace):
    kills = olds = 0
    for call in CALLS:
        number = 1
        while killed_at(call, number, run_dir := copy_of(made, tmp_path / "struck")):
            kills += 1
            _, checkpoint = find_resumable(run_dir)
            assert checkpoint.step in (NEWER, NEWER + 2)
            olds += checkpoint.step == NEWER
            run = resumed(run_dir, checkpoint)
            advance(run, to_step=NEWER + 3)
            assert save(run, run_dir) == [], "nothing that the dead one left is in the way"
            run.close()
            assert find_resumable(run_dir)[1].step == NEWER + 3
            number += 1 if is_soak() else TENTH
    assert kills >= len(CALLS) and olds
    reached(11, f"killed at {kills} system calls: {olds} times the old one was left", counts={"system calls": kills})
