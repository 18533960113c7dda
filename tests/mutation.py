"""How many small faults in the core do the tests notice? `make mutation`

Faults are put into a copy of the checkout, one at a time, and tests are run until the first fails. There are two kinds:

    planted    PLANTED below: statements in another order or left out, GPU code; all of them must be noticed
    mutants    by cosmic-ray (extra `mutation`): another operator, another number, no loop, ...; a sample of the files
               that pyproject.toml names by area, against the area's tests. The share that is noticed is the score.

    make mutation                                           # PLANTED and 10 mutants of every area: about 20 minutes
    make mutation ARGS="--sample 200 --areas shm replay"

Exit code: 0 where every planted fault was noticed.
"""

import argparse
import fnmatch
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_S = 900.0  # then something never ends, and the fault is noticed


@dataclass(frozen=True)
class Fault:
    """`new` in place of `old` in a file: the whole text of a mutant, one place of a planted fault."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_WRITING = "        self._words[WRITING] = self._head + 1\n"
_BOOKED = "        self._bank[count] += 1\n"
_RELU = "value = tl.where(value < 0.0, 0.0, value)"
_UNDO = "Undo([*network.parameters(), *network.buffers(), "
_WEIGHT = "weight=on_device(weight, self._device),"
_SEARCH = "tests/kernels/test_fused_search.py"

PLANTED = (
    Fault("commit before the payload", "speedyzero/shm/ring.py", _WRITING,
          f"{_WRITING}        self._words[HEAD] = self._head + 1\n", ("tests/faults/test_ring_points.py",)),
    Fault("slot freed before it is counted", "speedyzero/shm/ring.py", _BOOKED,
          f"        words[TAIL] = tail\n{_BOOKED}", ("tests/faults/test_ring_points.py",)),
    Fault("processes outlive their supervisor", "speedyzero/runtime/fork_server/process.py",
          "    die_with(parent_pid)\n", "", ("tests/runtime/test_fork_server.py",)),
    Fault("gradients summed, not averaged", "speedyzero/learner/group.py",
          "        self._flat[:end] /= self.size\n", "", ("tests/learner/test_group.py",)),
    Fault("a bad batch's statistics stay", "speedyzero/learner/device_step.py", _UNDO,
          "Undo([*network.parameters(), ", ("tests/kernels/test_fused_norms.py", "tests/learner/test_trainer.py")),
    Fault("the host reads the device within a step", "speedyzero/learner/batch.py", _WEIGHT,
          f"{_WEIGHT[:-1]} / on_device(weight, self._device).max().item(),", ("tests/learner/test_no_host_reads.py",)),
    Fault("root noise of the search before", "speedyzero/search/static_search.py",
          "            copy_padded(self._chance.root, chance.root)\n", "            pass\n",
          ("tests/kernels/test_searcher.py",)),
    Fault("captured with old weights", "speedyzero/model/agent.py",
          "            self._fused.load()\n", "            pass\n", (_SEARCH,)),
    Fault("resume forgets records in flight", "speedyzero/supervisor/inline.py",
          "        edges.restore(checkpoint.part(EDGES_PART))\n", "", ("tests/faults/test_inline_resume.py",)),
    Fault("on a GPU a fused ReLU turns NaN into 0", "kernels/norm_act/triton_gpu.py", _RELU,
          "value = tl.maximum(value, 0.0)", ("tests/kernels/test_triton_compiles.py",)),
)  # fmt: skip


def areas() -> dict[str, dict[str, list[str]]]:
    """`files` and `tests` by area, as patterns from the root."""
    return settings()["areas"]


def settings() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutation"]


def files_of(area: str) -> list[str]:
    return sorted({str(path.relative_to(ROOT)) for pattern in areas()[area]["files"] for path in ROOT.glob(pattern)})


def mutants(area: str, *, count: int, seed: int) -> list[Fault]:
    """So many of an area's, drawn at random."""
    from cosmic_ray.commands import init
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db

    with tempfile.TemporaryDirectory() as scratch, use_db(f"{scratch}/session.sqlite", WorkDB.Mode.create) as database:
        init([ROOT / file for file in files_of(area)], database, {})
        places = [item.mutations[0] for item in database.pending_work_items]
    excluded = settings()["excluded-operators"]
    places = [place for place in places if not any(fnmatch.fnmatch(place.operator_name, one) for one in excluded)]
    places.sort(key=lambda place: (str(place.module_path), place.operator_name, place.occurrence))
    random.Random(seed).shuffle(places)
    found: list[Fault] = []
    while places and len(found) < count:
        place = places.pop()
        file, source = Path(place.module_path).relative_to(ROOT), Path(place.module_path).read_text()
        mutant = mutate_code(source, get_operator(place.operator_name)(), place.occurrence)
        name = f"{file}:{place.start_pos[0]} {place.operator_name.removeprefix('core/')}"
        with suppress(SyntaxError):  # such a mutant shows nothing
            compile(mutant, name, "exec")
            found.append(Fault(name, str(file), source, mutant, tuple(areas()[area]["tests"])))
    return found


def is_noticed(fault: Fault, copy: Path, *, limit_s: float = LIMIT_S) -> bool:
    """Whether a test fails with the fault. Raises ValueError where its place is not there exactly once."""
    path = copy / fault.file
    source = path.read_text()
    if source.count(fault.old) != 1:
        raise ValueError(f"{fault.name}: {fault.file} has its place {source.count(fault.old)} times, must be once")
    path.write_text(source.replace(fault.old, fault.new))
    try:
        return run_tests(copy, fault.tests, limit_s=limit_s, is_shared=path.parent == copy / "kernels") != 0
    finally:
        path.write_text(source)


def run_tests(copy: Path, tests: Sequence[str], *, limit_s: float = LIMIT_S, is_shared: bool = False) -> int:
    """pytest's exit code; 1 after the limit. is_shared: compiled code that numba caches for other files contains it."""
    cache = copy.parent / (f"numba-{time.monotonic_ns()}" if is_shared else "numba")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *tests]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen(command, cwd=copy, env=environment, **silent)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        with suppress(ProcessLookupError):  # the usual case: it has ended, and so has everything it started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def checkout(target: Path) -> Path:
    """A copy of what tests read of the checkout, without what was made in it."""
    made = shutil.ignore_patterns(".*", "__pycache__", "build", "runs", "results")
    return Path(shutil.copytree(ROOT, target, ignore=made))


def try_all(faults: Sequence[Fault], copy: Path) -> list[Fault]:
    """Print what becomes of each; those that no test noticed. Raises RuntimeError where tests fail without a fault."""
    tests, started_s = sorted({test for fault in faults for test in fault.tests}), time.monotonic()
    if run_tests(copy, tests) != 0:
        raise RuntimeError(f"fails without a fault: pytest {' '.join(tests)}")
    limit_s, missed = 30.0 + 5.0 * (time.monotonic() - started_s), []
    for fault in faults:
        started_s = time.monotonic()
        if not is_noticed(fault, copy, limit_s=limit_s):
            missed.append(fault)
        verdict = "NOT NOTICED" if fault in missed else "noticed"
        print(f"{verdict:12}{time.monotonic() - started_s:5.0f} s  {fault.name}", flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--areas", nargs="*", choices=areas(), default=list(areas()))
    parser.add_argument("--sample", type=int, default=10, help="mutants of each area (default 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-planted", action="store_true", help="mutants alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutation-") as scratch:
        copy = checkout(Path(scratch) / "copy")
        missed = [] if arguments.no_planted else try_all(PLANTED, copy)
        scores = []
        for area in arguments.areas:
            faults = mutants(area, count=arguments.sample, seed=arguments.seed)
            noticed = len(faults) - len(try_all(faults, copy))
            scores.append(f"{area}: {noticed} of {len(faults)} mutants noticed")
    print("\n".join(scores))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
