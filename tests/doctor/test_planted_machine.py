"""Problems put into a real machine, each in a mount namespace of its own, are found by the real command."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path

import pytest

from tests.doctor.planted_machine import Outcome, Planted, outcomes
from tests.faults.rights import go_without, need_root

WORDS = ["--game", "Pong", "--preset", "laptop", "--gpus", "0"]
WRAPPING = ["schedule.env_steps=100000000", "replay.capacity_steps=100000000"]
SHM = {"/dev/shm": "size=300m,mode=1777"}  # what is stale on this machine is not to be seen
ROMS = Path(sysconfig.get_path("purelib")) / "ale_py" / "roms"


def plan(runs: Path) -> dict[str, Planted]:
    here = [*WORDS, "--run-dir", str(runs / "new")]
    return {
        "healthy": Planted(here, SHM),
        "tiny /dev/shm": Planted(here, {"/dev/shm": "size=1m,mode=1777"}),
        "/dev/shm read-only": Planted(here, {"/dev/shm": "ro,size=300m,mode=1777"}),
        "/dev/shm not sticky": Planted(here, {"/dev/shm": "size=300m,mode=777"}),
        "missing ROM": Planted(here, SHM, lost={str(ROMS): ["pong.bin"]}),
        "damaged ROM": Planted(here, SHM, emptied=[str(ROMS / "pong.bin")]),
        "damaged ROM of another game": Planted(here, SHM, emptied=[str(ROMS / "alien.bin")]),
        "stale segment": Planted(here, SHM, stale_segment=True),
        "unwritable directory": Planted(here, {**SHM, str(runs): "ro,size=9m"}),
        "full disk": Planted(here, {**SHM, str(runs): "size=1m"}),
        "few open files": Planted(here, SHM, limits={"RLIMIT_NOFILE": 40}),
        "small files": Planted(here, SHM, limits={"RLIMIT_FSIZE": 2**20}),
        "GPUs that are not there": Planted([*here, "--gpus", "9"], SHM),
        "settings that are refused": Planted([*here, *WRAPPING], SHM),
        "bad word": Planted([*here, "--gmae", "Pong"], SHM),
    }


# exit code, status and check of what is found, and words of it and of what mends it
EXPECTED = {
    "healthy": (0, "", "", []),
    "tiny /dev/shm": (1, "wrong", "shared memory", ["1.0 MiB free", "remount,size="]),
    "/dev/shm read-only": (1, "wrong", "shared memory", ["cannot be written"]),
    "/dev/shm not sticky": (0, "warning", "shared memory", ["mode 777", "chmod +t"]),
    "missing ROM": (1, "wrong", "ROMs", ["'Pong': its ROM can't be read", "ale-py"]),
    "damaged ROM": (1, "wrong", "ROMs", ["'Pong': its ROM can't be read", "ale-py"]),
    "damaged ROM of another game": (0, "warning", "ROMs", ["1 of 26 games, as Alien"]),
    "stale segment": (0, "warning", "old segments", ["left 1 objects, 1.0 MiB", "sweep_dead_runs"]),
    "unwritable directory": (1, "wrong", "disk", ["cannot be written", "--run-dir"]),
    "full disk": (1, "wrong", "disk", ["writes about", "df -h"]),
    "few open files": (1, "wrong", "open files", ["at most 40", "ulimit -n 1024"]),
    "small files": (0, "warning", "file size", ["1.0 MiB", "ulimit -f"]),
    "GPUs that are not there": (1, "wrong", "GPUs", ["9 are asked for, torch sees 0"]),
    "settings that are refused": (1, "wrong", "the run", ["lower schedule.pacing_slack_env_steps", "other settings"]),
    "bad word": (2, "", "", ["did you mean --game?"]),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    need_root("mount a tmpfs")
    planted = plan(tmp_path_factory.mktemp("runs"))
    done = outcomes(list(planted.values()))
    if done is None:
        go_without("this machine lets nobody mount a tmpfs")
    return dict(zip(planted, done, strict=True))


@pytest.mark.parametrize("problem", EXPECTED)
def test_what_is_planted_is_found(problem: str, found: dict[str, Outcome]):
    code, status, check, words = EXPECTED[problem]
    outcome = found[problem]
    assert outcome.code == code, outcome.output
    for word in words:
        assert word in outcome.output, outcome.output
    if code == 2:
        assert outcome.output.count("\n") == 1
        return
    lines = [line for line in outcome.output.splitlines() if line.startswith(("ok ", "warning", "wrong"))]
    seen = {(line.split()[0], re.split(r"\s{2,}", line[9:])[0].strip()) for line in lines if line.startswith("w")}
    # Of the machine that the tests run on: few processors, no swap of its own.
    assert seen - {("warning", "processors")} == ({(status, check)} if status else set()), outcome.output
    verdict = outcome.output.splitlines()[-1]
    assert verdict.startswith("a run cannot start: 1 wrong" if code else "a run can start")
