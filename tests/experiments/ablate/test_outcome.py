"""What is read from a run's directory: scores, the training's clock, and whether it is the run that was planned."""

import json
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.experiments.ablate.outcome import read_outcome
from speedyzero.experiments.grid.run import GridRun

# train step, seconds on the wall, name, value: 10 steps a second, and 5 s for each evaluation that is waited for
LINES = [
    (0, 1.0, "learner/loss", 9.0),
    (20, 3.0, "learner/loss", 9.0),
    (30, 9.0, "evaluate/mean_score", -1.0),
    (30, 9.0, "evaluate/training_waited_s", 5.0),
    (40, 10.0, "learner/loss", 9.0),
    (60, 12.0, "learner/loss", 9.0),
    (60, 17.0, "evaluate/mean_score", 0.0),
    (60, 17.0, "evaluate/training_waited_s", 5.0),
    (80, 19.0, "learner/loss", 9.0),
    (100, 21.0, "learner/loss", 9.0),
    (100, 26.0, "evaluate/mean_score", 1.0),
    (100, 26.0, "evaluate/training_waited_s", 5.0),
]


def planned() -> GridRun:
    return GridRun("base", 4, resolve(game="Catch", seed=4, gpus=0, overrides=["schedule.train_steps=100"]), ())


def written(run_dir: Path, lines=LINES) -> Path:
    run_dir.mkdir(exist_ok=True)
    entries = [json.dumps({"step": s, "time_s": t, "name": n, "value": v}) for s, t, n, v in lines]
    (run_dir / "metrics.jsonl").write_text("\n".join(entries) + "\n")
    return run_dir


def test_the_clock_stands_still_while_an_evaluation_is_waited_for(tmp_path: Path):
    outcome = read_outcome(planned(), written(tmp_path))
    assert (outcome.arm, outcome.seed) == ("base", 4)
    assert outcome.steps == [30, 60, 100]
    assert outcome.clock_s == pytest.approx([4.0, 7.0, 11.0])
    assert outcome.train_s == pytest.approx(11.0)


def test_evaluations_beside_the_training_cost_it_nothing(tmp_path: Path):
    beside = [line for line in LINES if line[2] != "evaluate/training_waited_s"]
    assert read_outcome(planned(), written(tmp_path, beside)).train_s == 21.0


def test_figures_by_hand(tmp_path: Path):
    outcome = read_outcome(planned(), written(tmp_path))
    assert outcome.final_score == 1.0
    assert outcome.score_at_half == pytest.approx(-1 / 3)  # at train step 50, between -1 at 30 and 0 at 60
    assert outcome.area == pytest.approx((-1.0 * 30 - 0.5 * 30 + 0.5 * 40) / 100)
