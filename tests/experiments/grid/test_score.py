"""A run that is trained and saved but was stopped in its final evaluation gets the score it would have had."""

from __future__ import annotations

from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config.documents import save_config
from speedyzero.env.registry import check_game
from speedyzero.experiments.grid.run import GridRun, final_score
from speedyzero.experiments.grid.score import score
from speedyzero.model.build import build_network
from speedyzero.observe.metrics import read_metrics

SETTINGS = ("schedule.train_steps=100", "evaluate.episodes=3", "search.num_simulations=2")


def test_it_is_scored_by_its_own_protocol(tmp_path: Path):
    config = resolve("catch", "Catch", 0, 0, None, SETTINGS)
    run = GridRun("Catch", 0, config, SETTINGS)
    save_config(config, tmp_path / "config.yaml")
    game = check_game(config.env)
    meta = {"step": 100, "preset": "catch", "game": "Catch", "num_actions": game.num_actions, "score": None}
    network = build_network(config, game.spec, game.num_actions)
    save_weights(checkpoint_dir(tmp_path, 100), network.state_dict(), {**meta, "env_steps": 700})
    assert final_score(run, tmp_path) is None
    score(tmp_path)
    found = final_score(run, tmp_path)
    assert found is not None
    assert (found["step"], found["episodes"], found["env_steps"]) == (100, 3, 700)
    assert read_metrics(tmp_path)["evaluate/mean_score"].values.tolist() == [found["mean"]]
