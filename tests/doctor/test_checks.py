"""Every problem is found by its own check alone, with its fix: on made-up machines, and by the command on this one."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ale_py import roms

from speedyzero.arguments.resolve import resolve
from speedyzero.cli import check_command, run
from speedyzero.config import Config
from speedyzero.doctor import checks_system, command, readings
from speedyzero.doctor.checks_nodes import check_name, node_findings
from speedyzero.doctor.checks_software import software_findings
from speedyzero.doctor.checks_system import check_cache, check_segments, system_findings
from speedyzero.doctor.finding import OK, WARNING, WRONG, Finding
from speedyzero.doctor.readings import Folder, Torch
from speedyzero.shm import Field, Run, SharedArrays, SharedArraysSpec, segment
from speedyzero.shm.liveness import current_process, place
from speedyzero.shm.sweep import SweepReport
from speedyzero.supervisor import space
from speedyzero.system import gpus, memory_limits, numba_cache
from speedyzero.system.gpus import Gpu
from speedyzero.system.memory_limits import MemoryLimit

MIB, GIB = 2**20, 2**30
H100 = Gpu("H100", free_bytes=78 * GIB, total_bytes=80 * GIB, capability=(9, 0))
# What is read of a healthy machine, and where the reading is looked up.
HEALTHY: dict[str, tuple[Any, Any]] = {
    "read_conflicts": (readings, ([], "")),
    "device_files": (readings, 0),
    "import_error": (readings, ""),
    "read_build_error": (readings, ""),
    "compute_modes": (readings, ["Default", "Default"]),
    "mps_runs": (gpus, False),
    "sweep_dead_runs": (checks_system, SweepReport((), ())),
    "tightest_memory_limit": (memory_limits, MemoryLimit("this machine", 32 * GIB, 30 * GIB)),
    "is_in_memory": (memory_limits, True),
    "candidates": (numba_cache, [Path("/cache"), Path("/home/cache")]),
}
ON_A_CPU = {
    "torch": Torch("2.12.0"),
    "gpus": 0,
    "rom_errors": {"Pong": "", "Alien": ""},
    "refusal": "",
    "shm_dir": "",
    "folders": {},
}
ON_GPUS = {
    **ON_A_CPU,
    "torch": Torch("2.12.0+cu130", "13.0", (H100, H100)),
    "gpus": 2,
    "device_files": 2,
}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """The findings on a machine with these facts."""

    def check(machine: Mapping[str, Any], **changed: Any) -> list[Finding]:
        facts = {**machine, **changed}
        for name, (module, healthy) in HEALTHY.items():
            monkeypatch.setattr(module, name, Mock(return_value=facts.get(name, healthy)))
        monkeypatch.setattr(
            readings, "read_folder", lambda path, or_parent=False: facts["folders"].get(str(path), folder(path))
        )
        monkeypatch.setattr(readings, "NVIDIA_DRIVER", Path(facts.get("driver", "/nowhere")))
        monkeypatch.setenv("TRITON_CACHE_DIR", "/triton")
        named = {name: facts[name] for name in ("gpus", "rom_errors", "refusal")}
        config = Config(run_dir="/runs", shm_dir=facts["shm_dir"])
        return [
            *software_findings(facts["torch"], **named),
            *system_findings(config, gpus=min(facts["gpus"], len(facts["torch"].gpus))),
        ]

    return check


def folder(path: str | Path, **facts: Any) -> Folder:
    return Folder(Path(path), **{"mode": 0o1777, "total_bytes": 99 * GIB, "free_bytes": 90 * GIB, **facts})


def at(path: str, **facts: Any) -> dict[str, Any]:
    return {"folders": {path: folder(path, **facts)}}


def torch(**changed: Any) -> dict[str, Any]:
    return {"torch": replace(ON_GPUS["torch"], **changed)}


UNREADABLE = "env.game='Pong': its ROM can't be read: gone"
REQUIRES = "speedyzero 0.1.0 requires {}, which is not installed."
# check, what differs from the healthy machine, status, words of what is found, words of its fix
CPU_PROBLEMS: list[tuple] = [
    ("packages", {"read_conflicts": ([REQUIRES.format("zstandard")], "")}, WRONG, ["zstandard"], "pip install -c"),
    ("packages", {"read_conflicts": ([REQUIRES.format("posix-ipc")], "")}, WRONG, ["posix-ipc"], "gcc python3-dev"),
    ("packages", {"read_conflicts": (["torch 2.12 requires x<3, but you have x 4"], "")}, WARNING, ["x 4"], "install"),
    ("packages", {"read_conflicts": ([], "No module named pip")}, WARNING, ["No module named pip"], "ensurepip"),
    ("torch", {"torch": Torch(error="OSError: libcudart.so.13")}, WRONG, ["libcudart.so.13"], "pip install"),
    ("GPUs", {"driver": "/proc/self/status"}, WARNING, ["no /dev/nvidia0"], "--gpus all"),
    ("GPUs", {"gpus": 9}, WRONG, ["9 are asked for", "sees 0"], "--gpus 0"),
    ("ROMs", {"rom_errors": {"Pong": UNREADABLE, "Alien": ""}, "refusal": UNREADABLE}, WRONG, ["gone"], "ale-py"),
    (
        "ROMs",
        {"rom_errors": {"Pong": "", "Alien": "damaged"}},
        WARNING,
        ["1 of 2 games, as Alien", "damaged"],
        "ale-py",
    ),
    ("ROMs", {"rom_errors": None}, WRONG, ["cannot be imported"], "pip install"),
    ("shared memory", at("/dev/shm", exists=False, writable=False), WRONG, ["missing"], "mount -t tmpfs"),
    ("shared memory", at("/dev/shm", mode=0o755, writable=False), WRONG, ["mode 755", "written"], "chmod 1777"),
    ("shared memory", at("/dev/shm", mode=0o777), WARNING, ["mode 777"], "chmod +t"),
    ("shared memory", {"is_in_memory": False}, WARNING, ["on a disk"], "mount -t tmpfs"),
    ("old segments", {"sweep_dead_runs": SweepReport(("a", "b"), ("c",))}, WARNING, ["2 objects", "1 of"], "sweep"),
    ("memory", {"tightest_memory_limit": None}, WARNING, ["does not say"], "free -h"),
    ("disk", at("/runs", writable=False), WRONG, ["/runs cannot be written"], "--run-dir"),
    ("disk", at("/runs", exists=False), WRONG, ["no directory"], "--run-dir"),
    ("disk", at("/runs", free_bytes=MIB), WARNING, ["1.0 MiB free", "512.0 MiB"], "--run-dir"),
    (
        "numba's cache",
        {"folders": {path: folder(path, writable=False) for path in ("/cache", "/home/cache")}},
        WRONG,
        ["/cache or /home/cache"],
        "NUMBA_CACHE_DIR",
    ),
]
GPU_PROBLEMS: list[tuple] = [
    ("torch", {**torch(cuda=None), "device_files": 2}, WRONG, ["for CPUs", "2 NVIDIA GPUs"], "pip uninstall torch"),
    ("GPUs", torch(cuda_error="NVIDIA driver is too old"), WRONG, ["driver is too old"], "nvidia-smi"),
    ("GPUs", torch(gpus=(H100,)), WRONG, ["2 are asked for", "sees 1"], "--gpus 1"),
    (
        "GPUs",
        torch(gpus=(H100, replace(H100, name="V100", capability=(7, 0)))),
        WARNING,
        ["bfloat16", "V100"],
        "Ampere",
    ),
    ("Triton", {"import_error": "ImportError: libtriton.so"}, WRONG, ["libtriton.so"], "pip install"),
    ("Triton", {"read_build_error": "no C compiler is found"}, WRONG, ["no C compiler"], "gcc"),
    ("Triton", {"read_build_error": "fatal error: Python.h: No such file"}, WRONG, ["Python.h"], "-dev (Fedora"),
    ("Triton", at("/triton", writable=False), WRONG, ["/triton"], "TRITON_CACHE_DIR"),
    ("MPS", {"compute_modes": ["Exclusive_Process", "Default"]}, WRONG, ["Exclusive_Process"], "-c DEFAULT"),
    ("MPS", {"compute_modes": ["Default", "Prohibited"]}, WRONG, ["Prohibited"], "-c DEFAULT"),
    ("MPS", {"mps_runs": True}, WARNING, ["kills", "/dev/shm"], "echo quit"),
    (
        "shared memory",
        at("/dev/shm", total_bytes=1000 * MIB, free_bytes=1000 * MIB),
        WARNING,
        ["NCCL"],
        "--shm-size=1g",
    ),
]
PROBLEMS = [(ON_A_CPU, *case) for case in CPU_PROBLEMS] + [(ON_GPUS, *case) for case in GPU_PROBLEMS]


@pytest.mark.parametrize(
    ("machine", "check", "changed", "status", "words", "fix"),
    PROBLEMS,
    ids=[f"{case[1]}-{i}".replace(" ", "_") for i, case in enumerate(PROBLEMS)],
)
def test_a_problem_is_found_with_its_fix(found, machine, check, changed, status, words, fix):
    (finding,) = [one for one in found(machine, **changed) if one.status != OK]
    assert (finding.check, finding.status) == (check, status), finding
    assert all(word in finding.what for word in words), finding
    assert fix in finding.fix and "\n" not in finding.what + finding.fix, finding
    assert "mps-control -d" not in finding.fix  # nobody is told to start MPS


@pytest.mark.parametrize(("machine", "checks"), [(ON_A_CPU, 9), (ON_GPUS, 11)])
def test_a_healthy_machine_has_one_line_a_check_and_nothing_to_fix(found, machine, checks):
    findings = found(machine)
    assert [one for one in findings if one.status != OK] == []
    assert len({one.check for one in findings}) == len(findings) == checks


def test_one_gpu_needs_no_more_shared_memory_than_the_run(found):
    small = at("/dev/shm", total_bytes=1000 * MIB, free_bytes=1000 * MIB)
    assert all(one.status == OK for one in found(ON_GPUS, gpus=1, **torch(gpus=(H100,)), **small))


def test_a_run_that_would_not_fit_is_found_with_the_way_out_that_its_start_names(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segment, "free_bytes", lambda run: MIB)
    found = command.findings_of(resolve("catch", "Catch", 0, 0), Torch("2.12.0"), gpus=0)
    (wrong,) = [one for one in found if one.status == WRONG]
    assert wrong.check == "the run" and "/dev/shm has 1,048,576 free (1.0 MiB)" in wrong.what
    assert wrong.fix.startswith("enlarge it (docker run --shm-size=")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", ""),
        ("echo 'm.c:1:10: fatal error: Python.h: No such file or directory' >&2; exit 1", "Python.h: No such file"),
        ('echo "cc1: error: no include path" >&2; exit 1', "no include path"),
        (None, "no C compiler is found"),
    ],
)
def test_the_first_compiler_that_triton_would_take_compiles_against_python(script, expected, monkeypatch, tmp_path):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "gcc").write_text(
            f'#!/bin/sh\nread first < "$1"\n[ "$first" = \'#include <Python.h>\' ] || exit 2\n{script}\n'
        )
        (tmp_path / "gcc").chmod(0o755)
    error = readings.read_build_error()
    assert expected in error and bool(expected) == bool(error) and "\n" not in error


def test_a_broken_emulator_keeps_nothing_else_from_being_checked(monkeypatch: pytest.MonkeyPatch):
    """Importing it raised an AttributeError where its files were missing."""

    def wire_if_it_fits(config: Config) -> None:
        raise AttributeError("module 'ale_py.roms' has no attribute 'get_all_rom_ids'")

    monkeypatch.setattr(space, "wire_if_it_fits", wire_if_it_fits)
    monkeypatch.setattr(readings, "rom_errors", lambda: None)
    findings = command.findings_of(Config(), Torch("2.12.0"), gpus=0)
    assert [one.check for one in findings if one.status == WRONG] == ["ROMs"]


def test_what_a_dead_run_left_is_found_and_kept(tmp_path: Path):
    me = current_process()
    dead = Run(f"{me.pid}-{me.start_ticks - 1:x}-{place()}-{secrets.token_hex(4)}", str(tmp_path))
    SharedArrays.create(dead, SharedArraysSpec("left", (("array", Field("uint8", (MIB,))),)))
    finding = check_segments(tmp_path)
    assert finding.status == WARNING and "MiB, in shared memory" in finding.what
    assert len(list(tmp_path.iterdir())) == 1


def test_numba_s_cache_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Its folder need not exist yet; what cannot become a folder is no place for it."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    assert check_cache() == Finding("numba's cache", OK, str(tmp_path))
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert check_cache().status == WRONG


def without(rom: str) -> Callable[[str], Path]:
    present = roms.get_rom_path

    def get_rom_path(name: str) -> Path:
        if name == rom:
            raise FileNotFoundError(f"{rom}.bin")
        return present(name)

    return get_rom_path


# arguments, a ROM that is missing, exit code, and words of a line
WHOLE = [
    ([], "", 0, ["a run can start: "]),
    ([], "pong", 1, ["wrong    ROMs           env.game='Pong': its ROM can't be read", "a run cannot start: 1 wrong"]),
    ([], "alien", 0, ["warning  ROMs           1 of 26 games, as Alien"]),
    (["--gpus", "9"], "", 1, ["wrong    GPUs           9 are asked for, torch sees 0"]),
    (
        ["schedule.env_steps=100000000", "replay.capacity_steps=100000000"],
        "",
        1,
        ["wrong    the run        ", "lower schedule.pacing_slack_env_steps"],
    ),
    (["--gmae", "Pong"], "", 2, ["did you mean --game?"]),
]


@pytest.mark.parametrize(("words", "rom", "code", "expected"), WHOLE)
def test_the_command_on_this_machine(words, rom, code, expected, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(roms, "get_rom_path", without(rom))
    monkeypatch.setattr(readings, "read_torch", lambda: Torch("2.12.0"))
    here = ["doctor", "--game", "Pong", "--preset", "laptop", "--gpus", "0", "--run-dir", str(tmp_path / "new")]
    try:
        found = run(check_command, [*here, *words], prog="speedyzero")
    except SystemExit as ended:
        found = ended.code
    printed = "".join(capsys.readouterr())
    assert found == code and all(part in printed for part in expected), printed


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [("127.0.1.1", WARNING, "is 127.0.1.1 here, where no other host"), ("10.0.0.2", OK, "hostA is 10.0.0.2")],
)
def test_a_name_that_leads_back_to_its_own_host_is_found(monkeypatch, address, status, words):
    monkeypatch.setattr("socket.gethostbyname", lambda name: address)
    finding = check_name("hostA")
    assert finding.status == status and words in finding.what and ("--local-addr" in finding.fix) == (status == WARNING)


def test_a_name_without_an_address_is_found():
    assert check_name("nowhere.invalid").status == WARNING


def test_a_node_s_variables_are_checked(monkeypatch):
    monkeypatch.setattr("socket.gethostbyname", lambda name: "10.0.0.2")
    for value, own_store, statuses in (("eth7", "", [OK, WRONG, OK, WARNING]), ("lo", "1", [OK] * 4)):
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", value)
        monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", own_store)
        monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
        assert [finding.status for finding in node_findings()] == statuses
