"""For every test: one torch thread, and a suite that leaves no process and no shared memory behind."""

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from speedyzero import cli
from speedyzero.shm import Run, remove_run
from speedyzero.system.stop_signals import STOP_SIGNALS

SHARED_MEMORY = Path("/dev/shm")
# Whole machines, sweeps of dead runs, kills: one after another where tests run side by side, so that none of them sees
# another's dead run. They are the longest chain, and begin first.
# In one process, which shares no memory:
INLINE = (
    "test_(alarms|bad_resumes|checkpoint_|gpu_memory|inline|limit_now|mirrored_run|no_code|not_finite|reshard|soak)"
)
MACHINE = re.compile(rf"tests/((faults|supervisor)/(?!{INLINE})|shm)")
_MARK = f"SPEEDYZERO_TEST_RUN={uuid.uuid4().hex}"


def pytest_configure() -> None:
    # No timed assertions: how long an example takes is the machine's affair.
    settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("project")
    name, _, value = _MARK.partition("=")
    os.environ[name] = value  # inherited by every process that a test starts, at any depth
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where a shell started us in its background


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Which tests stay together where several workers share them out (`make test`): machines, else a file's."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "machine" if MACHINE.match(file) else file

    return ByFile(config, log)


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Training in this process sets its own number."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """A command that was interrupted leaves signals ignored: its process would end."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run() -> Iterator[Run]:
    """Names in shared memory, of which nothing is left afterwards."""
    run = Run.new()
    yield run
    remove_run(run)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line with which a command refuses its argv; it prints nothing else."""

    def refused(check: Callable, argv: Sequence[str], *, prog: str = "speedyzero") -> str:
        capsys.readouterr()
        assert cli.run(check, argv, prog=prog) == cli.BAD_INPUT
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith(prog) and captured.err.count("\n") == 1, captured
        return captured.err

    return refused


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    before = {path.name for path in SHARED_MEMORY.iterdir()}
    yield
    running = _started_by_us()
    theirs = _used_by_others()
    new = [path for path in SHARED_MEMORY.iterdir() if path.name not in before]
    entries = [path for path in new if str(path) not in theirs and not _has_another_owner(path.name)]
    assert not running, f"left running: {running}"
    assert not entries, f"left behind: {[str(path) for path in entries]}"


def _started_by_us() -> list[str]:
    """Command lines of the live processes that this test run started."""
    found = []
    for process in _other_processes():
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            is_ours = int(parent) == os.getpid() or _MARK.encode() in (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or another user's
        if is_ours and state != "Z":
            found.append(f"{process.name} {command}")
    return found


def _used_by_others() -> set[str]:
    """Shared memory that other processes have mapped: a second test run beside this one has its own."""
    found = set()
    for process in _other_processes():
        try:
            lines = (process / "maps").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        found |= {line.split(maxsplit=5)[5] for line in lines if str(SHARED_MEMORY) in line}
    return found


def _has_another_owner(name: str) -> bool:
    """Whether a live process that is not this one is named in a shared object's name, as `speedyzero.<pid>-...`."""
    owner = re.search(r"speedyzero\.(\d+)-", name)
    return owner is not None and int(owner[1]) != os.getpid() and Path(f"/proc/{owner[1]}").exists()


def _other_processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) != os.getpid()]
