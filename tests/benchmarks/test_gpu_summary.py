"""The table that the GPU suite prints last, its exit code, and its record."""

import json
import subprocess
import sys

import pytest

from benchmarks import gpu_suite
from benchmarks.gpu import summary
from benchmarks.gpu.json_file import write_json
from benchmarks.gpu.runner import SUITE


def a_stage(name: str, status: str = "ok", *, is_failure: bool = False, reason: str = "", **results) -> dict:
    return {
        "name": name, "status": status, "reason": reason, "seconds": 1.25, "is_failure": is_failure, "results": results,
    }  # fmt: skip


def a_report(*stages: dict, rehearsal: bool = False) -> dict:
    about = {"benchmark": "gpu_suite", "time": "2026-01-01T00:00:00Z", "commit": "abc", "budget_s": 540.0}
    return {**about, "rehearsal": rehearsal, "stages": list(stages)}


def learner_stage() -> dict:
    modes = {"eager": 12_000.0, "graphed": 21_000.0, "graphed, fused norms": 31_000.0, "graphed, folded": 60_000.0}
    rates = {name: {"samples_per_s": rate, "times": {}} for name, rate in modes.items()}
    return a_stage("learner", batches={"B=2048": {**rates, "other": {"out_of_memory": "..."}}})


def line_of(text: str, subject: str) -> str:
    """The last one."""
    return [line for line in text.splitlines() if subject in line][-1]


def test_budgets_are_held_against_what_was_measured():
    gather = a_stage("gather", batches={"B=2048": {"bf16 padded to 16, augmented": {"share_of_copy": 0.55}}})
    machine = a_stage("environment", gpu={"name": "H0"}, copy={"gb_per_s": 3e3}, matrix={"tflop_per_s": 607.0})
    text = summary.table(a_report(machine, learner_stage(), gather, a_stage("pong", "crashed", reason="exit 1: why")))
    assert line_of(text, "batch 2048, eager").endswith("NOT MET")
    assert line_of(text, "batch 2048, graph  ").endswith("meets 1 of 3")
    assert line_of(text, "batch 2048, best").endswith("meets 2 of 3")  # folded targets are another algorithm
    assert "31,000 samples/s" in line_of(text, "batch 2048, best")
    assert line_of(text, "share of a copy").endswith("NOT MET") and "55.0%" in line_of(text, "share of a copy")
    assert line_of(text, "learner busy").endswith("crashed exit 1: why")
    assert line_of(text, "tree kernels' share").endswith("search_speed did not run")
    assert "14.8% of the product's rate" in text  # 31,000 x 2.89 GFLOP / 607 TFLOP/s
    assert "H0" in text and "REHEARSAL" not in text


def test_a_card_that_forked_processes_cannot_use_is_told():
    works, fails = ({"works": works, "why": why} for works, why in ((True, ""), (False, "the reason")))
    assert "CANNOT USE" not in summary.table(a_report(a_stage("environment", forked=works)))
    assert "CANNOT USE THE CARD, and so no run can: the reason" in summary.table(
        a_report(a_stage("environment", forked=fails))
    )


def test_a_ceiling_is_met_from_below():
    stage = a_stage("pong", projected_minutes=30.0, shares={"learner-0": {"busy": 0.9}})
    text = summary.table(a_report(stage))
    assert line_of(text, "atari100k").endswith("meets 1 of 2") and line_of(text, "learner busy").endswith(
        "meets 1 of 1"
    )


def test_a_rehearsal_meets_nothing_and_is_never_recorded():
    report = a_report(learner_stage(), rehearsal=True)
    text = summary.table(report)
    assert all(line.startswith("REHEARSAL") for line in text.splitlines()) and "meets" not in text
    assert line_of(text, "batch 2048, best").endswith("a rehearsal")
    with pytest.raises(ValueError, match="never recorded"):
        summary.record(report)


@pytest.mark.parametrize(
    ("stages", "code", "verdict"),
    [
        ([a_stage("a"), a_stage("b", "crashed")], 0, "every correctness stage that ran ended well"),
        ([a_stage("a", "failed", is_failure=True), a_stage("b", "skipped")], 1, "FAILED: a; skipped: b"),
        ([a_stage("a", "no gpu")], 2, "no GPU: nothing was run"),
        ([a_stage("a", "skipped", reason="not installed: torch")], 2, "nothing was run: not installed: torch"),
    ],
)
def test_exit_code_and_verdict(stages, code, verdict):
    report = a_report(*stages)
    assert summary.exit_code(report) == code and summary.verdict(report) == verdict


def test_a_recorded_line_is_the_whole_report(monkeypatch, tmp_path):
    monkeypatch.setattr(summary, "RESULTS", tmp_path / "results")
    reports = [a_report(learner_stage()), a_report(a_stage("a"))]
    for report in reports:
        path = summary.record(report)
    assert [json.loads(line) for line in path.read_text().splitlines()] == reports
    assert path.name == "gpu_suite.jsonl"


def test_json_is_written_whole_and_has_no_infinities(tmp_path):
    write_json(tmp_path / "a.json", {1: (float("nan"), float("-inf"), 0.5), "b": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": ["nan", "-inf", 0.5], "b": None}
    with pytest.raises(RecursionError):
        endless: list = []
        endless.append(endless)
        write_json(tmp_path / "a.json", endless)
    assert json.loads((tmp_path / "a.json").read_text())["b"] is None  # the old one is there


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--record", "--cpu-rehearsal"], "never recorded"), (["--budget-s", "0"], "must be above 0")],
)
def test_bad_words_are_refused(capsys, words, message):
    with pytest.raises(SystemExit) as end:
        gpu_suite.main(words)
    assert end.value.code == 2 and message in capsys.readouterr().err


def test_without_a_gpu_the_command_says_so_and_exits_with_2(tmp_path):
    """As a user starts it: plain python, from anywhere, with the environment that hides every GPU."""
    done = subprocess.run(
        [sys.executable, str(SUITE), "--out", "found", "--budget-s", "5400"],
        cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "torch sees no GPU here" in done.stdout and "no GPU: nothing was run" in done.stdout
    assert "ended well" not in done.stdout
    report = json.loads((tmp_path / "found" / "gpu_suite.json").read_text())
    assert [stage["status"] for stage in report["stages"]] == ["no gpu"]


def test_bad_input_is_one_line_and_nothing_is_made(tmp_path, capsys):
    for words in (["--only", "nosuch"], ["--summarise", str(tmp_path / "nowhere.json")]):
        assert gpu_suite.main([*words, "--out", str(tmp_path / "out")]) == summary.EXIT_NOTHING_RUN
        told = capsys.readouterr().err
        assert told.startswith("gpu_suite: ") and told.count("\n") == 1
    assert not (tmp_path / "out").exists()
