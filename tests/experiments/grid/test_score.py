"""A run that is trained and saved but was stopped in its final evaluation gets the score it would have had."""

from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.config.documents import save_config
from speedyzero.experiments.grid.run import GridRun, final_score
from speedyzero.experiments.grid.score import score
from speedyzero.observe.metrics import read_metrics
from tests.evaluate.untrained import save_untrained

SETTINGS = ("schedule.train_steps=100", "evaluate.episodes=3", "search.num_simulations=2")


def test_it_is_scored_by_its_own_protocol(tmp_path: Path):
    config = resolve("catch", "Catch", 0, 0, None, SETTINGS)
    run = GridRun("Catch", 0, config, SETTINGS)
    save_config(config, tmp_path / "config.yaml")
    save_untrained(config, tmp_path, 100, env_steps=700)
    assert final_score(run, tmp_path) is None
    score(tmp_path)
    found = final_score(run, tmp_path)
    assert found is not None
    assert (found["step"], found["episodes"], found["env_steps"]) == (100, 3, 700)
    assert read_metrics(tmp_path)["evaluate/mean_score"].values.tolist() == [found["mean"]]
