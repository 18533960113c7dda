"""The whole machine in one process: does it learn, is it the same run twice, what does it leave behind."""

from __future__ import annotations

import json

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.config import Config
from speedyzero.config.documents import load_config
from speedyzero.observe.metrics import read_metrics
from speedyzero.supervisor.inline import InlineRun, build_run
from speedyzero.supervisor.train import train

SHORT = ["schedule.env_steps=900", "schedule.train_steps=80", "schedule.head_start_env_steps=500"]
TINY_PONG = [
    "actor.envs=2",
    "schedule.env_steps=120",
    "schedule.train_steps=6",
    "schedule.head_start_env_steps=80",
    "learner.batch_size=8",
    "search.num_simulations=4",
    "evaluate.episodes=2",
    "env.eval_limit_frames=200",
]


def played(config: Config) -> tuple[InlineRun, list[float]]:
    """A run carried to its end, and its losses."""
    run, losses = build_run(config), []
    while not run.done:
        run.turn()
        while not run.edges.metrics.empty:
            record = run.edges.metrics.get()
            if record.name == "learner/loss":
                losses.append(record.value)
    run.env.close()
    return run, losses


@pytest.mark.parametrize(
    ("preset", "game", "settings"),
    [("catch", "Catch", SHORT), ("laptop", "Pong", TINY_PONG)],
)
def test_a_run_is_a_function_of_its_config_and_seed(preset, game, settings):
    config = resolve(preset, game, 3, 0, None, settings)
    (first, losses), (second, losses_again) = played(config), played(config)
    assert len(losses) >= 6 and losses == losses_again
    for name in ("frame", "action", "reward", "root_value", "visit_policy", "first", "terminal", "last"):
        assert np.array_equal(getattr(first.reanalyzer.shard, name), getattr(second.reanalyzer.shard, name)), name


def test_another_seed_is_another_run():
    runs = [played(resolve("catch", "Catch", seed, 0, None, SHORT)) for seed in (0, 1)]
    assert runs[0][1] != runs[1][1]
    assert not np.array_equal(runs[0][0].reanalyzer.shard.action, runs[1][0].reanalyzer.shard.action)


def test_play_and_learning_keep_their_ratio():
    config = resolve("catch", "Catch", 0, 0, None, SHORT)
    run, schedule = build_run(config), config.schedule
    while not run.done:
        run.turn()
        board = run.edges.board
        due = 500 + min(board.train_steps / schedule.train_steps, 1.0) * 400
        if board.train_steps:
            assert abs(board.env_steps - due) <= 2 * config.actor.envs
    shard = run.reanalyzer.shard
    written = np.arange(shard.rows) < shard.head[:, None]
    assert run.edges.board.env_steps == (written & ~shard.last).sum()


def test_catch_is_learned(tmp_path):
    """The end-to-end proof, bounded in train steps; about half a minute on 2 cores."""
    train(resolve("catch", "Catch", 0, 0, str(tmp_path / "run"), ["evaluate.video=false"]))
    assert read_scores(tmp_path / "run")["last"]["mean"] >= 0.9


def test_a_run_on_a_real_rom_leaves_its_directory(tmp_path, capsys):
    run_dir = tmp_path / "run"
    settings = [*TINY_PONG, "evaluate.interval_train_steps=3", "evaluate.interval_episodes=1"]
    config = resolve("laptop", "Pong", 0, 0, str(run_dir), settings)
    assert train(config) == run_dir
    assert load_config(run_dir / "config.yaml") == config
    scores = read_scores(run_dir)
    assert scores["last"]["step"] == 6 and scores["last"]["episodes"] == 2
    metrics = read_metrics(run_dir)
    assert list(metrics["evaluate/mean_score"].steps) == [3, 6]
    assert np.isfinite(metrics["learner/loss"].values).all()
    saved = load_weights(newest(run_dir))
    assert json.dumps(saved.meta["step"]) == "6" and saved.meta["game"] == "Pong"
    assert (run_dir / "videos" / "step_000000006.mp4").stat().st_size > 1000
    out = capsys.readouterr().out
    assert "expect   a score near random play's (-20.7)" in out
    assert "differs from EfficientZero's paper" in out and str(run_dir) in out and "evaluate" in out


def test_a_machine_that_cannot_move_says_so():
    run = build_run(resolve("catch", "Catch", 0, 0, None, SHORT))
    run.edges.board.env_steps = 10_000  # as if everything had been played, with an empty replay
    with pytest.raises(RuntimeError, match="no role can move"):
        run.turn()
    run.env.close()
