"""Whole runs that were struck down and resumed: what was counted, played and learned continues where it was."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from speedyzero.checkpoint.manifest import checkpoint_dir, is_finished, step_of
from speedyzero.checkpoint.row_format import NOT_IN_ROWS
from speedyzero.checkpoint.stored import Checkpoint, newest_valid, open_checkpoint, resumable
from speedyzero.checkpoint.weights_file import load_weights
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.observe.metrics import read_metrics
from speedyzero.reanalyze.restored import restore_shard
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.runtime.wiring import REANALYZER
from speedyzero.topology.pacing import Pacing
from tests.faults.ring_contract import is_soak, reached, trials
from tests.faults.whole_run import WholeRun

pytestmark = pytest.mark.skipif(
    not is_soak(), reason="whole runs that are resumed take a minute each: make soak ROWS='7 12 17'"
)

EVERY = 20
SAVING = (
    f"checkpoint.interval_train_steps={EVERY}",
    "actor.actors=2",
    "actor.envs=4",
    "target.interval_samples=960",
)
TOTAL = 120  # train steps


def rows_of(config: Config, checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every row of both actors, [8, n, ...], as a resumed run would find them, and the rows of each lane, [8]."""
    game = check_game(config.env)
    shard = Shard(shard_shape(config, game.spec, game.num_actions))
    restore_shard(shard, checkpoint, index=0)
    assert shard.head.max() <= shard.rows, "rows were overwritten"
    names = (name for name in shard.shape.fields() if name not in NOT_IN_ROWS)
    return {name: getattr(shard, name) for name in names}, shard.head


def assert_went_on(run_dir: Path, run: WholeRun) -> None:
    """A finished run that was resumed is in every count the run that was never left."""
    metrics = read_metrics(run_dir)
    for name in ("learner/loss", "learner/target_lag"):
        assert metrics[name].steps.tolist() == list(range(TOTAL)), name
    lag = metrics["learner/target_lag"].values
    assert (lag[60:] >= 30).all() and (lag[60:] < 60 + 3).all(), "one to two intervals, whoever made the batch"
    schedule, tick = run.config.schedule, 8
    pacing, series = Pacing(schedule, tick_env_steps=tick, actors=2), metrics["reanalyzer/env_steps"]
    for step, env_steps in zip(series.steps, series.values, strict=True):
        assert pacing.env_steps_due(step) - tick <= env_steps <= pacing.env_steps_due(step + 2) + 4 * tick, step
    last = newest_valid(run_dir)
    assert last.step == TOTAL
    meta = load_weights(checkpoint_dir(run_dir, TOTAL)).meta
    # The last train step begins as soon as the steps due before it are played.
    assert pacing.env_steps_due(TOTAL - 1) <= meta["env_steps"] < schedule.env_steps + 2 * tick
    assert (run.group(), run.shared_names()) == ([], [])


def interrupted_run(run_dir: Path, *, at_step: int) -> tuple[WholeRun, Checkpoint]:
    """A run that has ended after one Ctrl-C, and the checkpoint that it left."""
    with WholeRun.start(run_dir, *SAVING) as run:
        run.wait_for_step(at_step)
        os.kill(run.process.pid, signal.SIGINT)
        assert run.wait() == 130, run.printed
    return run, newest_valid(run_dir)


@pytest.mark.contract(7, 12, 17)
def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    run_dir = tmp_path / "run"
    run, left = interrupted_run(run_dir, at_step=50)
    before, rows = rows_of(run.config, left)
    assert left.step >= 50 and left.step == max(map(step_of, resumable(run_dir)))
    played = sum((~before["last"][lane, :length]).sum() for lane, length in enumerate(rows))
    assert sum(left.document("replay_0")["env_steps"]) == played
    with WholeRun.resume(run_dir) as run:
        assert run.wait() == 0, run.printed
    assert f"resuming {run_dir} at train step {left.step}: 0 later" in run.printed
    assert_went_on(run_dir, run)
    after, _ = rows_of(run.config, newest_valid(run_dir))
    lanes, cut = np.arange(len(rows)), rows - 1  # one actor may have been a tick ahead of the other
    for lane, length in enumerate(rows):
        for name, column in before.items():
            assert np.array_equal(column[lane, : length - 2], after[name][lane, : length - 2]), name
        assert np.array_equal(before["frame"][lane, :length], after["frame"][lane, :length])
    assert after["last"][lanes, cut].all() and after["first"][lanes, cut + 1].all(), "the games under way are over"
    goes_on = ~before["last"][lanes, cut] & ~before["first"][lanes, cut]
    # None, where every lane's game had just ended: games of Catch have 9 steps and begin together.
    assert after["truncated"][lanes[goes_on], cut[goes_on] - 1].all()
    reached(17, f"a run interrupted at train step {left.step} went on with its counters, pacing, replay and target lag")


@pytest.mark.contract(12, 17)
def test_a_run_that_was_killed_loses_an_interval_at_most(tmp_path):
    worst = 0
    for trial in trials(12, 10):
        run_dir = tmp_path / str(trial)
        with WholeRun.start(run_dir, *SAVING) as run:
            run.wait_for_step(45 + 7 * trial)
            done = run.board.total("train_steps")
            os.killpg(run.process.pid, signal.SIGKILL)
            run.wait()
        left = newest_valid(run_dir)
        worst = max(worst, done - left.step)
        assert done - left.step <= 2 * EVERY, "an interval, and the one that was being written"
        with WholeRun.resume(run_dir) as run:
            assert run.wait() == 0, run.printed
        assert_went_on(run_dir, run)
        open_checkpoint(checkpoint_dir(run_dir, TOTAL))
        reached(12, f"killed at train step {done}, resumed at {left.step}", counts={"whole runs killed": 1})


@pytest.mark.contract(5, 12)
def test_learners_that_died_go_on_from_the_last_checkpoint(tmp_path):
    run_dir = tmp_path / "run"
    with WholeRun.start(run_dir, *SAVING) as run:
        run.wait_for_step(45)
        os.kill(run.pid_of("learner-0"), signal.SIGKILL)
        assert run.wait() == 0, run.printed
        assert "learner-0 died by signal SIGKILL" in run.printed and "(1 of 3 times)" in run.printed
        assert_went_on(run_dir, run)
    reached(12, "a learner killed at train step 45 or later: the run went on from its last checkpoint by itself")


@pytest.mark.contract(3)
def test_a_reanalyzer_is_replaced_after_the_checkpoint_that_was_resumed_is_deleted(tmp_path):
    run_dir = tmp_path / "run"
    _, left = interrupted_run(run_dir, at_step=25)
    with WholeRun.resume(run_dir, "checkpoint.keep_last=1") as run:
        run.wait_for(lambda: not is_finished(left.directory), "a later checkpoint")
        os.kill(run.pid_of(REANALYZER), signal.SIGKILL)
        assert run.wait() == 0, run.printed
    assert run.printed.count("died and is replaced") == 1, run.printed
    assert newest_valid(run_dir).step == TOTAL
