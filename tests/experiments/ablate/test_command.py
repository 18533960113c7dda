"""The whole command: with runs that are made up at once, and once with real ones."""

import json
from pathlib import Path

import pytest

from speedyzero.cli import DONE, check_command, run
from speedyzero.experiments.grid.folder import RunsFailed

ON_AND_OFF = ["--game", "Catch", "--gpus", "0", "--seeds", "2", "--vary", "refresh.enabled"]


def ablate(*words: str, out: Path) -> int:
    return run(check_command, ["ablate", *words, "--out", str(out)], prog="speedyzero")


def lines_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_raw_results_plan_table_and_picture(befall, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert ablate(*ON_AND_OFF, "--inline", out=tmp_path) == DONE
    scores = [(line["arm"], line["seed"], line["final_score"], line["train_s"]) for line in lines_of(tmp_path)]
    assert scores == [
        ("base", 0, 0.5, 30.0),
        ("refresh.enabled=false", 0, 0.0, 30.0),
        ("base", 1, 0.6, 30.0),
        ("refresh.enabled=false", 1, 0.1, 30.0),
    ]
    plan = json.loads((tmp_path / "ablation.json").read_text())
    assert plan["game"] == "Catch" and plan["arms"]["refresh.enabled=false"] == ["refresh.enabled=false"]
    assert "| base | 2 | 0.55 (0.50 to 0.60) |" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "refresh.enabled=false, seed 1: score 0.1" in told and "4/4  " in told  # in whatever order they finish


def test_finished_runs_stay_and_more_seeds_are_added(befall, tmp_path: Path):
    ablate(*ON_AND_OFF, out=tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/config.yaml")}
    assert ablate(*ON_AND_OFF, "--seeds", "3", out=tmp_path) == DONE
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [line["seed"] for line in lines_of(tmp_path)] == [0, 0, 1, 1, 2, 2]
    assert not (tmp_path / "abandoned").exists()


def test_a_run_that_fails_does_not_end_the_rest_and_is_begun_anew(befall, how, tmp_path: Path, capsys):
    befall(**{"refresh.enabled=false-seed0": "killed"})
    with pytest.raises(RunsFailed, match="1 of 4 runs have no score") as failed:
        ablate(*ON_AND_OFF, out=tmp_path)
    assert "refresh.enabled=false, seed 0: killed by SIGKILL: on the way" in str(failed.value)
    assert [(line["arm"], line.get("failed")) for line in lines_of(tmp_path)] == [
        ("base", None),
        ("refresh.enabled=false", -9),
        ("base", None),
        ("refresh.enabled=false", None),
    ]
    assert "FAILED, killed by SIGKILL" in capsys.readouterr().out
    assert "| refresh.enabled=false | 1 |" in (tmp_path / "table.md").read_text()
    befall()
    assert ablate(*ON_AND_OFF, out=tmp_path) == DONE
    assert set(how().values()) == {"begun"}  # not resumed: a curve has one clock
    assert [path.name for path in (tmp_path / "abandoned").iterdir()] == ["refresh.enabled=false-seed0-001"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["--vary"]),
        (["--vary", "refresh.enable"], ["did you mean refresh.enabled"]),
        (["--vary", "schedule.train_steps=60"], ["two values or more"]),
        (["--vary", "refresh.enabled", "--seeds", "0"], ["--seeds: 0", "1 or more"]),
        (["--vary", "refresh.enabled", "--jobs", "0"], ["--jobs: 0", "1 or more"]),
        (["--vary", "refresh.enabled", "--grid", "half"], ["--grid", "one-at-a-time"]),
        (["--vary", "optimizer.learning_rate=1,-1", "--game", "Catch"], ["optimizer.learning_rate=-1"]),
        (["--vary", "actor.actors=1,2", "--game", "Catch", "--inline", "actor.envs=8"], ["--inline runs one actor"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: list[str], expected: list[str], tmp_path: Path, refused):
    out = tmp_path / "out"
    line = refused(check_command, ["ablate", *words, "--out", str(out)])
    assert all(part in line for part in expected), line
    assert not out.exists()


TINY = (
    "schedule.env_steps=700 schedule.train_steps=40 learner.batch_size=16 search.num_simulations=2 "
    "evaluate.interval_train_steps=0 evaluate.episodes=5"
).split()


def test_real_runs(tmp_path: Path):
    """What becomes of the children of an ablation that is killed: tests/experiments/grid/test_children.py."""
    assert ablate(*ON_AND_OFF, *TINY, "--inline", "--seeds", "1", "--jobs", "2", out=tmp_path) == DONE
    assert {line["arm"]: line["steps"] for line in lines_of(tmp_path)} == {"base": [40], "refresh.enabled=false": [40]}
