"""The doctor on machines with planted problems: `python -m tests.doctor.planted_machine PLAN`. Needs root.

Each machine is a fork of this process in a mount namespace of its own, which nothing else sees: so the imports are paid
for once. For each a JSON line is printed: exit code and output.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_ALLOWED = 77  # exit code where this machine lets nobody mount
_CLONE_NEWNS, _MS_RDONLY, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1, 0x1000, 0x4000, 0x40000


@dataclass(frozen=True)
class Planted:
    """mounts: an empty tmpfs over each folder, by its options ("ro" and ones of tmpfs). emptied: files. lost: names
    of files of each folder. limits: by the names of `resource`."""

    words: list
    mounts: dict = field(default_factory=dict)
    emptied: list = field(default_factory=list)
    lost: dict = field(default_factory=dict)
    limits: dict = field(default_factory=dict)
    stale_segment: bool = False


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str


def outcomes(machines: list[Planted]) -> list[Outcome] | None:
    """What the doctor says of each; None where this machine lets nobody mount."""
    plan = json.dumps([asdict(machine) for machine in machines])
    command = [sys.executable, "-m", "tests.doctor.planted_machine", plan]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode == NOT_ALLOWED:
        return None
    assert done.returncode == 0, done.stderr
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def main() -> None:
    machines = [Planted(**entry) for entry in json.loads(sys.argv[1])]
    examine(machines[0])  # with nothing planted: whatever is imported only when it is needed
    for machine in machines:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                plant(machine)
                print(json.dumps(asdict(examine(machine))), flush=True)
                status = 0
            except PermissionError as error:
                print(error, file=sys.stderr)
                status = NOT_ALLOWED
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            sys.exit(status)


def plant(machine: Planted) -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments) -> None:
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), name)

    call("unshare", _CLONE_NEWNS)
    call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    for folder, options in machine.mounts.items():
        words = options.split(",")
        flags = _MS_RDONLY if "ro" in words else 0
        rest = ",".join(word for word in words if word != "ro")
        call("mount", b"tmpfs", folder.encode(), b"tmpfs", flags, rest.encode())
    for folder, names in machine.lost.items():
        kept = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
        call("mount", b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=64m")
        for name in kept.keys() - set(names):
            (Path(folder) / name).write_bytes(kept[name])
    for path in machine.emptied:
        call("mount", b"/dev/null", path.encode(), None, _MS_BIND, None)
    if machine.stale_segment:
        leave_a_segment()
    for name, limit in machine.limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))


def leave_a_segment() -> None:
    """As a run that was killed does."""
    from speedyzero.shm import Field, Run, SharedArrays, SharedArraysSpec

    child = os.fork()
    if child == 0:
        SharedArrays.create(Run.new(), SharedArraysSpec("left", (("a", Field("uint8", (1 << 20,))),)))
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the segment was not made"


def examine(machine: Planted) -> Outcome:
    from speedyzero.cli import check_command, run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            code = run(check_command, ["doctor", *machine.words], prog="speedyzero")
        except SystemExit as error:
            code = error.code
    return Outcome(code, printed.getvalue())


if __name__ == "__main__":
    main()
