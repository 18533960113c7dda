"""Whether a run is done, whether one can go on, and its clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import record_score
from speedyzero.config.documents import save_config
from speedyzero.experiments.grid.run import GridRun, final_score, newest_step, training_clock_s
from speedyzero.observe.metrics import MetricSeries


def planned(*settings: str) -> GridRun:
    shared = ("schedule.train_steps=100", *settings)
    return GridRun("base", 4, resolve(game="Catch", seed=4, gpus=0, overrides=shared), shared)


def test_finished_is_scored_at_the_last_train_step_with_these_settings(tmp_path: Path):
    run = planned()
    assert final_score(run, tmp_path) is None
    save_config(replace(run.config, run_dir="wherever it was then"), tmp_path / "config.yaml")
    assert final_score(run, tmp_path) is None
    record_score(tmp_path, step=90, mean=0.0)
    assert final_score(run, tmp_path) is None
    record_score(tmp_path, step=100, mean=0.0)
    assert final_score(run, tmp_path) == {"step": 100, "mean": 0.0}
    with pytest.raises(ValueError, match=r"optimizer.trust=0.02, now 0.5\)"):
        final_score(planned("optimizer.trust=0.5"), tmp_path)


def test_nothing_to_go_on_from(tmp_path: Path):
    assert newest_step(tmp_path) is None
    assert newest_step(tmp_path / "nowhere") is None


def test_the_clock_stands_still_while_evaluations_are_waited_for():
    def series(*times_and_values: tuple[float, float]) -> MetricSeries:
        times_s, values = np.array(times_and_values).T
        return MetricSeries(np.arange(len(values)), values, times_s)

    losses = series((1.0, 9.0), (3.0, 9.0), (10.0, 9.0), (26.0, 9.0))
    assert training_clock_s({"learner/loss": losses}).tolist() == [1.0, 3.0, 10.0, 26.0]
    waits = series((9.0, 5.0), (20.0, 4.0))  # 5 s that were over at 9, 4 s that were over at 20
    clock_s = training_clock_s({"learner/loss": losses, "evaluate/training_waited_s": waits})
    assert clock_s.tolist() == [1.0, 3.0, 5.0, 17.0]
