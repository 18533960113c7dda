"""Every problem that can be planted in the facts is found, by its own check alone, with what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from speedyzero.config import Config
from speedyzero.doctor import command, readings
from speedyzero.doctor.checks_software import software_findings
from speedyzero.doctor.checks_system import system_findings
from speedyzero.doctor.finding import OK, WARNING, WRONG, Finding
from speedyzero.doctor.machine import Machine
from speedyzero.doctor.need import Need
from tests.doctor.machines import GPU_NEED, HEALTHY, NEED, WITH_GPUS, folder
from tests.doctor.problems import ON_A_CPU, ON_GPUS


def findings(machine: Machine, need: Need | None, *, gpus: int, game: str = "Pong") -> Sequence[Finding]:
    return [*software_findings(machine, need, gpus=gpus, game=game), *system_findings(machine, need, gpus=gpus)]


def assert_found(found: Sequence[Finding], check: str, status: str, words: list[str], mend: str) -> None:
    (finding,) = [finding for finding in found if finding.status != OK]
    assert (finding.check, finding.status) == (check, status), finding
    for word in words:
        assert word in finding.what, finding
    assert mend in finding.mend, finding
    assert "\n" not in finding.what + finding.mend


def named(cases: list) -> list[str]:
    return [f"{case[0]}-{'-'.join(case[1])}-{i}".replace(" ", "_") for i, case in enumerate(cases)]


@pytest.mark.parametrize(("check", "changed", "status", "words", "mend"), ON_A_CPU, ids=named(ON_A_CPU))
def test_a_problem_is_found(check, changed, status, words, mend):
    assert_found(findings(replace(HEALTHY, **changed), NEED, gpus=0), check, status, words, mend)


@pytest.mark.parametrize(("check", "changed", "status", "words", "mend"), ON_GPUS, ids=named(ON_GPUS))
def test_a_problem_with_gpus_is_found(check, changed, status, words, mend):
    assert_found(findings(replace(WITH_GPUS, **changed), GPU_NEED, gpus=2), check, status, words, mend)


@pytest.mark.parametrize(("machine", "need", "gpus"), [(HEALTHY, NEED, 0), (WITH_GPUS, GPU_NEED, 2)])
def test_a_healthy_machine_has_one_line_a_check_and_nothing_to_mend(machine: Machine, need: Need, gpus: int):
    found = findings(machine, need, gpus=gpus)
    assert [finding for finding in found if finding.status != OK] == []
    assert len({finding.check for finding in found}) == len(found) == 19


def test_what_a_run_does_not_need_is_not_missed():
    """On a CPU no GPU's software; games that are no Atari need no ROM; root has no limit of processes."""
    machine = replace(
        HEALTHY,
        triton=None,
        build_error="no C compiler is found",
        triton_cache=folder("/ro", writable=False),
        rom_errors={"Pong": "gone"},
        limits=replace(HEALTHY.limits, threads=10, is_exempt=True, locked_bytes=0),
    )
    found = findings(machine, NEED, gpus=0, game="CartPole-v1")
    assert [(finding.check, finding.status) for finding in found if finding.status != OK] == [("ROMs", WARNING)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", ""),
        (
            "echo 'module.c:1:10: fatal error: Python.h: No such file or directory' >&2; exit 1",
            "Python.h: No such file",
        ),
        ('echo "cc1: error: no include path" >&2; exit 1', "no include path"),
        (None, "no C compiler is found"),
    ],
)
def test_three_lines_are_compiled_as_triton_would(script, expected, monkeypatch, tmp_path):
    """By a compiler that is asked to compile against Python.h, the first that Triton would take."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        (tmp_path / "gcc").write_text(
            f'#!/bin/sh\nread first < "$1"\n[ "$first" = \'#include <Python.h>\' ] || exit 2\n{script}\n'
        )
        (tmp_path / "gcc").chmod(0o755)
    error = readings.read_build_error()
    assert expected in error and bool(expected) == bool(error) and "\n" not in error


def test_nobody_is_told_to_start_mps():
    machines = [replace(WITH_GPUS, nvidia=replace(WITH_GPUS.nvidia, compute_modes=(mode,) * 2, mps_runs=runs))
                for mode in ("Default", "Exclusive_Process", "Prohibited") for runs in (False, True)]  # fmt: skip
    for machine in machines:
        assert not [one for one in findings(machine, GPU_NEED, gpus=2) if "mps-control -d" in one.mend]


def test_without_knowing_what_a_run_takes_the_rest_is_checked():
    machine = replace(HEALTHY, runs=folder("/runs", writable=False, free_bytes=0))
    found = findings(machine, None, gpus=0)
    assert [finding.check for finding in found if finding.status == WRONG] == ["disk"]


def test_a_broken_emulator_keeps_nothing_else_from_being_checked(monkeypatch: pytest.MonkeyPatch):
    """Importing it raised an AttributeError where its files were missing."""

    def need_of(config: Config) -> Need:
        raise AttributeError("module 'ale_py.roms' has no attribute 'get_all_rom_ids'")

    monkeypatch.setattr(command, "need_of", need_of)
    found = command.findings_of(replace(HEALTHY, rom_errors=None), Config(), gpus=0)
    assert [finding.check for finding in found if finding.status == WRONG] == ["ROMs"]


def test_what_no_check_knows_of_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch):
    def need_of(config: Config) -> Need:
        raise ValueError("learner.ranks=3: cannot work")

    monkeypatch.setattr(command, "need_of", need_of)
    (finding,) = [one for one in command.findings_of(HEALTHY, Config(), gpus=0) if one.status != OK]
    assert (finding.check, finding.what) == ("the run", "learner.ranks=3: cannot work")
