"""The whole command: with runs that are made up at once, and once with real ones and a killed ablation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speedyzero.cli import BAD_INPUT, DONE, check_command, run
from speedyzero.experiments.grid.folder import RunsFailed
from speedyzero.observe.metrics import read_metrics

ROOT = Path(__file__).parents[3]
LIMIT_S = 150.0  # far beyond any wait that succeeds
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
        (["--vary", "refresh.enabled", "--seeds", "0"], ["--seeds 0"]),
        (["--vary", "refresh.enabled", "--jobs", "0"], ["--jobs 0"]),
        (["--vary", "refresh.enabled", "--grid", "half"], ["--grid", "one-at-a-time"]),
        (["--vary", "refresh.enabled", "--game", "Pnog"], ["did you mean Pong"]),
        (["--vary", "optimizer.learning_rate=1,-1", "--game", "Catch"], ["optimizer.learning_rate=-1"]),
        (["--vary", "actor.actors=1,2", "--game", "Catch", "--inline", "actor.envs=8"], ["--inline runs one actor"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert ablate(*words, out=out) == BAD_INPUT
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and all(part in message for part in expected), message
    assert not out.exists()


TINY = (
    "schedule.env_steps=700",
    "schedule.train_steps=40",
    "learner.batch_size=16",
    "search.num_simulations=2",
    "evaluate.interval_train_steps=0",
    "evaluate.episodes=5",
)


def start(out: Path) -> subprocess.Popen:
    words = [*ON_AND_OFF, *TINY, "--inline", "--seeds", "1", "--jobs", "1", "--out", str(out)]
    line = [sys.executable, "-m", "speedyzero", "ablate", *words]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_killed_ablation_goes_on_where_it_was(tmp_path: Path):
    """Real runs. It is killed when the first run is finished and the second has begun."""
    first, second = tmp_path / "runs/base-seed0", tmp_path / "runs/refresh.enabled=false-seed0"
    killed = start(tmp_path)
    wait_for(lambda: (second / "config.yaml").exists(), killed)
    killed.kill()
    killed.communicate()
    wait_for(lambda: not users_of(tmp_path))
    finished = {path: path.stat().st_mtime_ns for path in first.rglob("*")}

    again = start(tmp_path)
    output, _ = again.communicate(timeout=LIMIT_S)
    assert again.returncode == DONE
    assert "1 of 2 runs are finished already" in output
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == finished
    assert [path.name for path in (tmp_path / "abandoned").iterdir()] == [f"{second.name}-001"]
    assert [line["arm"] for line in lines_of(tmp_path)] == ["base", "refresh.enabled=false"]
    metrics = read_metrics(first)
    (waited_s,) = metrics["evaluate/training_waited_s"].values  # inline, so the final evaluation held all else up
    assert 0 < waited_s < metrics["evaluate/training_waited_s"].times_s[0]


def users_of(folder: Path) -> list[int]:
    """Processes that name a path in this folder on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [pid for pid in found if pid != os.getpid()]


def wait_for(condition, process: subprocess.Popen | None = None) -> None:
    started_s = time.monotonic()
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() - started_s < LIMIT_S
        time.sleep(0.02)
