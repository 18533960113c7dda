"""`train.py` with a /dev/shm of a given size: `python -m tests.faults.tiny_shm PLAN`. Needs root.

A mount namespace of its own hides the machine's /dev/shm behind a tmpfs of each size in turn; nothing else sees it. For
each size one JSON line is printed: exit code, output, and what was left behind.
"""

import contextlib
import ctypes
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_ALLOWED = 77  # exit code where this machine lets nobody mount
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 2


@dataclass(frozen=True)
class Try:
    """words: of the command line. tmpfs: size in bytes of each folder that is to be one. whole: as a real process."""

    words: list
    tmpfs: dict
    whole: bool = False


@dataclass
class Outcome:
    code: int
    output: str
    left: list = field(default_factory=list)


def outcomes(tries):
    """What became of each; None where this machine lets nobody mount."""
    plan = json.dumps([asdict(one) for one in tries])
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.tiny_shm", plan], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == NOT_ALLOWED:
        return None
    assert done.returncode == 0, done.stderr
    return [Outcome(**json.loads(line)) for line in done.stdout.splitlines()]


def main():
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *arguments):
        if getattr(libc, name)(*arguments) != 0:
            raise OSError(ctypes.get_errno(), name)

    try:
        call("unshare", _CLONE_NEWNS)
        call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    except PermissionError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_ALLOWED)
    for one in (Try(**entry) for entry in json.loads(sys.argv[1])):
        for folder, size in one.tmpfs.items():
            call("mount", b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size},mode=1777".encode())
        outcome = run_whole(one.words) if one.whole else check_only(one.words)
        outcome.left = sorted(name for folder in ("/dev/shm", *one.tmpfs) for name in os.listdir(folder))
        for folder in one.tmpfs:
            call("umount2", folder.encode(), _MNT_DETACH)
        print(json.dumps(asdict(outcome)), flush=True)


def run_whole(words):
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Outcome(done.returncode, done.stdout)


def check_only(words):
    """What the command says before it does anything; spares the imports of a process for each size."""
    from speedyzero.cli import check_train, run

    def check(words, prog):
        check_train(words, prog)
        return lambda: None

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = run(check, words, prog="train.py")
    return Outcome(code, printed.getvalue())


if __name__ == "__main__":
    main()
