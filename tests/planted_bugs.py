"""Bugs that the suite must notice: each is planted in a copy of the sources, and the tests named beside it must fail.

    make planted                       all of them
    make planted NAMES="checksum-off"  some

A bug is one text replaced by another, which must occur exactly once, so the list cannot rot unseen
(`tests/test_planted_bugs.py`). All bugs' tests are run unplanted first: they must pass, or a failure would show
nothing. With `--record` a line goes to benchmarks/results/planted_bugs.jsonl. Exit code: 0 where every bug was noticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import write_result
from tests.planted_list import BUGS, Bug

ROOT = Path(__file__).parents[1]
LIMIT_S = 900.0
FAILED = 1  # pytest's exit code where tests failed; 2 and above: they could not be run
PACKAGES = ("torch", "numpy", "pytest")


@dataclass(frozen=True)
class Verdict:
    """What became of a bug. noticed_by: the first test that failed, empty where none did."""

    name: str
    noticed_by: str
    seconds: float


def plant(bug: Bug, root: Path) -> None:
    """Put a bug into the sources under `root`. Raises ValueError where its place is not there exactly once."""
    path = root / bug.file
    source = path.read_text()
    if source.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: {bug.file} has its place {source.count(bug.old)} times, must be once")
    path.write_text(source.replace(bug.old, bug.new))


def run_tests(root: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """pytest in a checkout, up to the first failure."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S)


def look(bug: Bug) -> Verdict:
    """Plant a bug in a copy and run its tests. Raises RuntimeError where they could not be run."""
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        copy = checkout(Path(scratch) / "copy")
        plant(bug, copy)
        done = run_tests(copy, bug.tests)
    if done.returncode not in (0, FAILED):
        raise RuntimeError(f"{bug.name}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}")
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return Verdict(bug.name, failed[0] if failed else "", time.monotonic() - started_s)


def checkout(target: Path) -> Path:
    """A copy of what tests read of the checkout, without what was made in it."""
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "runs", "results")
    return Path(shutil.copytree(ROOT, target, ignore=made))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of bugs; default: all")
    parser.add_argument("--record", action="store_true", help="append to benchmarks/results/planted_bugs.jsonl")
    arguments = parser.parse_args()
    known = {bug.name: bug for bug in BUGS}
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no such bugs: {', '.join(unknown)}; there are {', '.join(known)}")
    bugs = [known[name] for name in arguments.names] or list(BUGS)
    print("the tests of all of them, with nothing planted ...", flush=True)
    sound = run_tests(ROOT, sorted({test for bug in bugs for test in bug.tests}))
    print(sound.stdout.strip().splitlines()[-1])
    if sound.returncode != 0:
        print(sound.stdout)
        return 1
    verdicts = []
    for bug in bugs:
        verdict = look(bug)
        verdicts.append(verdict)
        print(f"{bug.name:32} {verdict.seconds:6.0f} s  {verdict.noticed_by or 'NOT NOTICED'}", flush=True)
    noticed = sum(bool(verdict.noticed_by) for verdict in verdicts)
    print(f"{noticed} of {len(bugs)} planted bugs were noticed")
    if arguments.record:
        print("written to", write_result("planted_bugs", {"bugs": verdicts}, packages=PACKAGES))
    return int(noticed < len(bugs))


if __name__ == "__main__":
    sys.exit(main())
