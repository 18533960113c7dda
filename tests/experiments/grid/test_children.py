"""Children side by side: interruptions, a caller that fails, and a parent that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speedyzero.experiments.grid.children import Ended, Job, run_jobs
from tests.processes import is_gone, wait_for

# Ends in order when it is interrupted, and says so in a file.
PATIENT = """
import os, pathlib, signal, sys
def end(number, frame):
    pathlib.Path(sys.argv[1]).write_text(signal.Signals(number).name)
    sys.exit(130)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGTERM, end)
{then}
while True:
    signal.pause()
"""


def job(folder: Path, name: str, script: str, *words: str) -> Job:
    return Job(name, (sys.executable, "-c", script, *words), folder / f"{name}.txt")


def carried_out(jobs: list[Job], *, slots: list[dict[str, str]]) -> None:
    with open(jobs[0].output.parent / "lock", "w") as lock:
        run_jobs(jobs, slots=slots, descriptor=lock.fileno(), started=lambda one: None, ended=lambda one: None)


def test_slots_run_side_by_side_each_in_its_environment(tmp_path: Path):
    """Each of two children waits until the other is there: one at a time they would wait for ever."""
    script = (
        "import os, pathlib, sys\n"
        "me, other = (pathlib.Path(sys.argv[1]) / name for name in sys.argv[2:])\n"
        "me.touch()\n"
        "while not other.exists(): pass\n"
        "print(os.environ['SLOT'])"
    )
    jobs = [job(tmp_path, "a", script, str(tmp_path), "a", "b"), job(tmp_path, "b", script, str(tmp_path), "b", "a")]
    carried_out(jobs, slots=[{"SLOT": "one"}, {"SLOT": "two"}])
    assert [one.output.read_text() for one in jobs] == ["one\n", "two\n"]


def test_an_interrupt_is_passed_on_and_waited_for(tmp_path: Path):
    before = signal.getsignal(signal.SIGINT)
    script = PATIENT.format(then="os.kill(os.getppid(), signal.SIGINT)")
    jobs = [job(tmp_path, name, script, str(tmp_path / f"{name}.end")) for name in ("a", "b")]
    with pytest.raises(KeyboardInterrupt):
        carried_out(jobs, slots=[{}])
    assert (tmp_path / "a.end").read_text() == "SIGINT"
    assert not jobs[1].output.exists()  # the next one was not begun
    assert signal.getsignal(signal.SIGINT) is before


def test_after_an_interrupt_no_free_slot_is_filled(tmp_path: Path):
    jobs = [job(tmp_path, name, PATIENT.format(then=""), str(tmp_path / f"{name}.end")) for name in ("a", "b")]

    def interrupt_ourselves(begun: Job) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with open(tmp_path / "lock", "w") as lock, pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, slots=[{}, {}], descriptor=lock.fileno(), started=interrupt_ourselves, ended=lambda ended: None)
    assert jobs[0].output.exists() and not jobs[1].output.exists()


def test_children_end_if_what_is_made_of_them_cannot_be_kept(tmp_path: Path):
    script = PATIENT.format(then="")
    jobs = [job(tmp_path, "long", script, str(tmp_path / "long.end")), job(tmp_path, "short", "")]

    def full_disk(ended: Ended) -> None:
        raise OSError("no space left")

    with open(tmp_path / "lock", "w") as lock, pytest.raises(OSError, match="no space"):
        run_jobs(jobs, slots=[{}, {}], descriptor=lock.fileno(), started=lambda one: None, ended=full_disk)
    assert not [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and names(entry, tmp_path)]


PARENT = """
import sys
from pathlib import Path
from speedyzero.experiments.grid.children import Job, run_jobs
from speedyzero.system.writer_lock import WriterLock
folder = Path(sys.argv[1])
job = Job("a", (sys.executable, "-c", sys.argv[2], str(folder / "end"), str(folder / "pid")), folder / "a.txt")
with WriterLock(folder / "lock", cargo="it") as lock:
    run_jobs([job], slots=[{}], descriptor=lock.descriptor, started=lambda one: None, ended=print)
"""


def test_a_child_ends_with_a_killed_parent_and_the_lock_is_held_till_then(tmp_path: Path):
    script = PATIENT.format(then="part = sys.argv[2] + '.part'; open(part, 'w').write(str(os.getpid()))\n"
                                 "os.rename(part, sys.argv[2])")  # fmt: skip
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), script])
    wait_for((tmp_path / "pid").exists)
    child = int((tmp_path / "pid").read_text())
    try:
        assert is_locked_by(tmp_path / "lock", child)
        parent.kill()
        parent.wait()
        wait_for(lambda: is_gone(child))
        assert (tmp_path / "end").read_text() == "SIGTERM"
    finally:
        for pid in (parent.pid, child):
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        parent.wait()


def names(process: Path, folder: Path) -> bool:
    """Whether a process was started with a path in this folder."""
    try:
        return str(folder).encode() in (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_locked_by(path: Path, pid: int) -> bool:
    return any(os.path.realpath(entry) == str(path) for entry in Path(f"/proc/{pid}/fd").iterdir())
