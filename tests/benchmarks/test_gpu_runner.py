"""How the GPU suite runs its stages: whatever becomes of one, the next one comes, and nothing known is lost."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu import runner
from benchmarks.gpu.all_reduce import gpus
from benchmarks.gpu.context import Skip
from benchmarks.gpu.last_device import last_device
from benchmarks.gpu.runner import Outcome, run_stages
from benchmarks.gpu.stages import NOMINAL_BUDGET_S, STAGES, Stage, stage_named
from tests.processes import is_gone

SECONDS = 60.0  # of a stage that does not hang; none takes one


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    monkeypatch.setattr(runner, "SUITE", Path(__file__).with_name("stub_suite.py"))


def run(out: Path, *stages: Stage, budget_s: float = NOMINAL_BUDGET_S, is_rehearsal: bool = False) -> list[Outcome]:
    return run_stages(stages, out=out, budget_s=budget_s, is_rehearsal=is_rehearsal, about={"commit": "abc"})


def stage(name: str, **how) -> Stage:
    return Stage(name, how.pop("seconds", SECONDS), how.pop("packages", ()), **how)


def test_whatever_becomes_of_a_stage_the_next_one_comes(tmp_path):
    stages = [
        stage("well"),
        stage("raises"),
        stage("dies"),
        stage("wrong", is_correctness=True),
        stage("late", is_correctness=True),
        stage("tool"),
        stage("unpacked", packages=("json", "no_such_package", "nor_this")),
        stage("peeks"),
    ]
    outcomes = run(tmp_path, *stages)
    assert [(one.name, one.status, one.is_failure) for one in outcomes] == [
        ("well", "ok", False),
        ("raises", "crashed", False),
        ("dies", "crashed", False),
        ("wrong", "failed", True),
        ("late", "incomplete", True),
        ("tool", "skipped", False),
        ("unpacked", "skipped", False),
        ("peeks", "ok", False),
    ]
    reasons = [one.reason for one in outcomes]
    assert reasons[1:7] == [
        "exit 1: OverflowError: too much of it",
        "signal SIGSEGV: no output",
        "2 wrong, the first: seven is not eight",
        "no time for 2 more, from the rest on",
        "not installed: a tool",
        "not installed: no_such_package, nor_this",
    ]
    assert outcomes[1].results == {"number": 2}  # what it had kept
    assert outcomes[7].results["before"] == [one.name for one in stages[:7]]  # written after each stage
    report = json.loads((tmp_path / "gpu_suite.json").read_text())
    assert report["commit"] == "abc" and report["rehearsal"] is False and len(report["stages"]) == 8
    log = (tmp_path / "gpu_suite.log").read_text()
    assert "==== raises ====" in log and "OverflowError: too much of it" in log


def test_a_stage_that_hangs_is_killed_with_all_it_started(tmp_path):
    hanging, after = run(tmp_path, stage("hangs", seconds=8.0, is_correctness=True), stage("well"))
    assert (hanging.status, hanging.is_failure, after.status) == ("timed out", True, "ok")
    assert hanging.reason == "killed after 8 s; the last it said: going to hang"
    assert is_gone(hanging.results["child"])


def test_time_left_over_comes_on_top_and_the_budget_ends_all(tmp_path):
    peek, well = run(tmp_path, stage("well", seconds=50.0), stage("peeks", seconds=30.0))[::-1]
    assert 30.0 < peek.results["limit_s"] < 80.0 and well.status == "ok"
    (scarce,) = run(tmp_path, stage("well", seconds=50.0), budget_s=0.01 * NOMINAL_BUDGET_S)
    assert (scarce.status, scarce.reason) == ("skipped", "no time was left")


def test_without_a_gpu_nothing_else_is_tried(tmp_path):
    outcomes = run(tmp_path, stage("blind"), stage("well"))
    assert [one.status for one in outcomes] == ["no gpu"] and outcomes[0].reason == "torch sees no GPU here"


@pytest.mark.parametrize(
    ("is_rehearsal", "interpreter", "expected"),
    [(True, True, ["", "1"]), (True, False, ["", None]), (False, True, ["0", None])],
)
def test_only_a_rehearsal_hides_the_gpus_and_interprets(monkeypatch, tmp_path, is_rehearsal, interpreter, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # left from elsewhere
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/tmp/a-daemon-s")
    (outcome,) = run(tmp_path, stage("environment", interpreter=interpreter), is_rehearsal=is_rehearsal)
    assert outcome.results == {
        "rehearsal": is_rehearsal, "CUDA_VISIBLE_DEVICES": expected[0], "TRITON_INTERPRET": expected[1],
        "CUDA_MPS_PIPE_DIRECTORY": "/nonexistent",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "fails", "fails_if_it_may_be_cut"),
    [
        ("ok", False, False),
        ("skipped", False, False),
        ("no gpu", False, False),
        ("incomplete", True, False),
        ("timed out", True, False),
        ("failed", True, True),
        ("crashed", True, True),
    ],
)
def test_what_a_correctness_stage_fails_by(status, fails, fails_if_it_may_be_cut):
    checks, may_be_cut = stage("a", is_correctness=True), stage("a", is_correctness=True, may_be_cut=True)
    assert Outcome.of(checks, status, "").is_failure is fails
    assert Outcome.of(may_be_cut, status, "").is_failure is fails_if_it_may_be_cut
    assert not Outcome.of(stage("a"), status, "").is_failure


def test_the_stages_fit_into_the_budget():
    assert all(one.wanted for one in STAGES)
    assert sum(one.seconds for one in STAGES) <= NOMINAL_BUDGET_S == 540
    assert len({one.name for one in STAGES}) == len(STAGES)
    assert stage_named("gather") in STAGES and stage_named("a.b").module_name == "a.b"
    sanitizer = stage_named("sanitizer")  # takes minutes: what it has seen until it is cut off counts
    assert sanitizer.is_correctness and sanitizer.may_be_cut
    with pytest.raises(ValueError, match="stage gathr: must be one of environment, "):
        stage_named("gathr")


def test_the_last_device_is_not_the_first():
    assert str(last_device(8)) == "cuda:7"
    assert gpus(2) == ["cuda:0", "cuda:1"]
    for needs_two in (last_device, gpus):
        with pytest.raises(Skip, match="one GPU is visible"):
            needs_two(1)
