"""What it takes until the processes of a run can work: forked from a server that imported once, or each spawned.

By turns, in one run: as many processes as a run has roles begin, each imports what roles need, makes an optimiser and
calls one function of numba's, and says so; then one more, as the successor of a dead actor does. Last a whole short run
of Catch, by the clock of its user: until it plays, until it has ended with its score.

    make bench NAME=start
    make bench NAME=start ARGS="--processes 8 --rounds 3"
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import write_result
from benchmarks.start_child import PRELOAD, become_ready
from speedyzero.runtime.fork_server import Forked, ForkServer

ROOT = Path(__file__).parents[1]
RUN = ("--game", "Catch", "--gpus", "0", "schedule.train_steps=20", "schedule.env_steps=1200")
LIMIT_S = 300.0


@dataclass(frozen=True)
class Started:
    """seconds: until all of them were ready, by the clock. cpu_s: of all, of the successor and of the server."""

    seconds: float
    cpu_s: float
    successor_s: float
    own_mib: float
    """Private_Dirty of one of them, once ready."""


def timed(begin: Callable[[Path], None], end: Callable[[], None], processes: int) -> Started:
    """begin: one process; end: called when all may end, returns when they have."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        before, started_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        for _ in range(processes):
            begin(folder)
        wait_for(folder, processes)
        all_s = time.monotonic() - started_s
        own = [int(path.read_text()) / 1024 for path in folder.glob("*.ready")]
        started_s = time.monotonic()
        begin(folder)
        wait_for(folder, processes + 1)
        successor_s = time.monotonic() - started_s
        (folder / "end").touch()
        end()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Started(all_s, cpu_s, successor_s, statistics.median(own))


def wait_for(folder: Path, count: int) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while len(list(folder.glob("*.ready"))) < count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{count} processes were not ready in {LIMIT_S:g} s")
        time.sleep(0.005)


def forked(processes: int) -> Started:
    """With the server's own start."""
    servers: list[ForkServer] = []
    begun: list[Forked] = []

    def begin(folder: Path) -> None:
        if not servers:
            servers.append(ForkServer([PRELOAD]))
        begun.append(servers[0].start(become_ready, (folder,)))

    def end() -> None:
        for one in begun:
            one.join()
        servers[0].close()

    return timed(begin, end, processes)


def spawned(processes: int) -> Started:
    begun = []

    def begin(folder: Path) -> None:
        begun.append(multiprocessing.get_context("spawn").Process(target=become_ready, args=(folder,)))
        begun[-1].start()

    def end() -> None:
        for one in begun:
            one.join()

    return timed(begin, end, processes)


def whole_run() -> dict[str, float]:
    """Seconds from the command to the first step of training that is shown, and to the command's end."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "train.py", *RUN, "--run-dir", f"{scratch}/run"]
        started_s, begun_s = time.monotonic(), 0.0
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            assert run.stdout is not None
            for line in run.stdout:
                if not begun_s and re.search(r"train steps [1-9]", line):
                    begun_s = time.monotonic() - started_s
        if run.returncode:
            sys.exit(f"{' '.join(command)} ended with {run.returncode}")
        return {"begun_s": begun_s, "ended_s": time.monotonic() - started_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3, help="of a run; 3 is the least (default)")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found: dict[str, list[Started]] = {"forked": [], "spawned": []}
    runs = []
    for _ in range(arguments.rounds):
        for name, way in (("forked", forked), ("spawned", spawned)):
            found[name].append(way(arguments.processes))
        runs.append(whole_run())
    print(f"{arguments.processes} processes, median (least to most) of {arguments.rounds} rounds")
    for name, turns in found.items():
        told = (f"{key} {spread([getattr(one, key) for one in turns])}" for key in Started.__dataclass_fields__)
        print(f"{name:8} {'  '.join(told)}")
    print("a run    " + "  ".join(f"{key} {spread([run[key] for run in runs])}" for key in runs[0]))
    results = {**vars(arguments), **found, "whole_run": runs}
    print(f"written to {write_result('bench_start', results, packages=('torch', 'numba'))}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
