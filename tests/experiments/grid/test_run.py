"""Whether a run is done, and whether one can resume."""

from dataclasses import replace
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import record_score
from speedyzero.config.documents import save_config
from speedyzero.experiments.grid.run import GridRun, final_score, newest_step


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
