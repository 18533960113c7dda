"""What it takes until the processes of a run can work: forked from a server that imported once, or each spawned.

By turns, in one run: as many processes as a run has roles begin, each imports what roles need, makes an optimiser and
calls one function of numba's, and says so; then one more, as the successor of a dead actor does. Last a whole short run
of Catch, by the clock of its user: until it plays, until it has ended with its score.

    make bench NAME=start
    make bench NAME=start ARGS="--processes 8 --rounds 3"
"""

import multiprocessing
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.common import Figure, parser, report
from benchmarks.runs import finish, start
from benchmarks.start_child import PRELOAD, become_ready
from speedyzero.runtime.fork_server import ForkServer

RUN = ("--game", "Catch", "schedule.train_steps=20", "schedule.env_steps=1200")
LIMIT_S = 300.0
READY, CPU = "all are ready", "processor time of all and one more"
SUCCESSOR, MEMORY = "one more is ready", "memory of its own, each"
UNITS = {READY: "s", CPU: "s", SUCCESSOR: "s", MEMORY: "MiB"}


def begin(server: ForkServer | None, folder: Path) -> Any:
    """One process, forked from the server or spawned."""
    if server is not None:
        return server.start(become_ready, (folder,))
    process = multiprocessing.get_context("spawn").Process(target=become_ready, args=(folder,))
    process.start()
    return process


def measure(make_server: Callable[[], Any], processes: int) -> dict[str, float]:
    """With the server's own start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as scratch:
        folder, started_s = Path(scratch), time.monotonic()
        with make_server() as server:
            begun = [begin(server, folder) for _ in range(processes)]
            wait_for(folder, processes)
            all_s, started_s = time.monotonic() - started_s, time.monotonic()
            own = [int(path.read_text()) / 1024 for path in folder.glob("*.ready")]  # Private_Dirty of each
            begun.append(begin(server, folder))
            wait_for(folder, processes + 1)
            successor_s = time.monotonic() - started_s
            (folder / "end").touch()
            for process in begun:
                process.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {READY: all_s, CPU: cpu_s, SUCCESSOR: successor_s, MEMORY: statistics.median(own)}


def wait_for(folder: Path, count: int) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while len(list(folder.glob("*.ready"))) < count:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{count} processes were not ready in {LIMIT_S:g} s")
        time.sleep(0.005)


def whole_run() -> tuple[float, float]:
    """Seconds from the command to the first step of training that is shown, and to the command's end."""
    with tempfile.TemporaryDirectory() as scratch:
        started_s, begun_s = time.monotonic(), 0.0
        run = start(*RUN, "--run-dir", f"{scratch}/run")
        assert run.stdout is not None
        for line in run.stdout:
            if not begun_s and re.search(r"train steps [1-9]", line):
                begun_s = time.monotonic() - started_s
        finish(run)
        return begun_s, time.monotonic() - started_s


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--processes", type=int, default=3, help="of a run; 3 is the least (default)")
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    forked, spawned, runs = [], [], []
    for _ in range(arguments.rounds):
        started_s = time.monotonic()
        forked.append(measure(lambda: ForkServer([PRELOAD]), arguments.processes))
        spawned.append(measure(nullcontext, arguments.processes))
        runs.append(whole_run())
        print(f"a round in {time.monotonic() - started_s:.0f} s", flush=True)
    figures = [
        Figure.of(f"{arguments.processes} processes {way}: {what}", [turn[what] for turn in turns], unit)
        for way, turns in (("forked from a server", forked), ("spawned", spawned))
        for what, unit in UNITS.items()
    ]
    for label, seconds in zip(("trains after", "ends with its score after"), zip(*runs, strict=True), strict=True):
        figures.append(Figure.of(f"`train.py --game Catch`, 20 train steps, {label}", seconds, "s"))
    report("bench_start", figures, packages=("torch", "numba"))


if __name__ == "__main__":
    main()
