"""The whole machine in one process: does it learn, does the seed count, what does it leave behind."""

import json

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.config.documents import load_config
from speedyzero.observe.metrics import read_metrics
from speedyzero.supervisor.inline import build_run
from speedyzero.supervisor.train import train
from tests.faults.inline_runs import advance

SHORT = ["schedule.env_steps=900", "schedule.train_steps=80", "schedule.head_start_env_steps=500"]
TINY_PONG = (
    "actor.envs=2 schedule.env_steps=120 schedule.train_steps=6 schedule.head_start_env_steps=80 learner.batch_size=8 "
    "search.num_simulations=4 evaluate.episodes=2 env.eval_limit_frames=200"
).split()


def test_another_seed_is_another_run():
    """The same seed is the same run: tests/faults/test_inline_resume.py."""
    runs = [build_run(resolve("catch", "Catch", seed, 0, None, SHORT)) for seed in (0, 1)]
    losses = [advance(run, to_step=5) for run in runs]
    assert losses[0] != losses[1]
    shards = [run.reanalyzer.shard for run in runs]
    assert not np.array_equal(shards[0].action, shards[1].action)
    for run, shard in zip(runs, shards, strict=True):
        written = np.arange(shard.rows) < shard.head[:, None]
        assert run.edges.board.env_steps == (written & ~shard.last).sum()
        run.close()


def test_catch_is_learned(tmp_path):
    """The end-to-end proof, in 700 of the preset's 1,200 train steps; 20 s of a core."""
    shorter = ["schedule.train_steps=700", "schedule.env_steps=3300", "evaluate.video=false"]
    train(resolve("catch", "Catch", 0, 0, str(tmp_path / "run"), shorter))
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
    waited, last = metrics["evaluate/training_waited_s"], metrics["evaluate/mean_score"].times_s[-1]
    assert (waited.values > 0).all() and waited.values.sum() < last  # inline, an evaluation holds all else up
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
