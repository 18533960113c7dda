"""A run as processes: what it leaves, what it counts, how it is interrupted."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.observe.metrics import read_metrics
from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.topology.pacing import Pacing
from tests.faults.whole_run import LIMIT_S, WholeRun


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WholeRun, Path, str]]:
    """A run that ended by itself: two actors, a score on the way, and what it printed."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    settings = ["actor.actors=2", "actor.envs=4", "evaluate.interval_train_steps=60", "evaluate.interval_episodes=5"]
    with WholeRun.start(run_dir, *settings) as run:
        yield run, run_dir, run.ends()


def test_a_run_leaves_its_directory_and_nothing_else(finished):
    _, run_dir, output = finished
    scores = read_scores(run_dir)
    assert scores["last"]["step"] == 120 and scores["last"]["episodes"] == 20
    assert list(read_metrics(run_dir)["evaluate/mean_score"].steps) == [60, 120]
    assert load_weights(newest(run_dir)).meta["step"] == 120
    assert not list(run_dir.glob("crash.*"))
    for part in ("actor-1", "steps.actor-0 (", "steps.actor-1 (", "shared in /dev/shm", "score", str(run_dir)):
        assert part in output


def test_every_record_is_accounted_for(finished):
    metrics = {name: series.values[-1] for name, series in read_metrics(finished[1]).items()}
    processes = ("actor-0", "actor-1", "reanalyzer-0", "learner-0")
    rings = ["steps.actor-0", "steps.actor-1", "batches.0-0", "priorities.0-0"]
    rings += [f"metrics.{name}" for name in processes]
    for ring in rings:
        produced, consumed, dropped, in_flight, unaccounted = (
            metrics[f"ring/{ring}/{count}"] for count in ("produced", "consumed", "dropped", "in_flight", "unaccounted")
        )
        assert 0 < produced == consumed + dropped + in_flight and dropped == unaccounted == 0, ring
    assert metrics["ring/batches.0-0/consumed"] == 120
    assert sum(metrics[f"ring/steps.actor-{index}/produced"] for index in (0, 1)) >= 1000 / 4
    assert metrics["supervisor/restarts"] == 0


def test_time_and_lags_are_booked(finished):
    metrics = read_metrics(finished[1])
    for process, wait in (("actor-0", "wait_pacing"), ("reanalyzer-0", "wait_space"), ("learner-0", "wait_input")):
        assert metrics[f"time/{process}/busy_s"].values[-1] > 0
        assert metrics[f"time/{process}/{wait}_s"].values[-1] > 0
    assert (metrics["lag/actor-0"].values >= 0).all()
    assert 50 <= metrics["lag/reanalyzer-0"].values[-1] < 100 + 50, "one to two intervals of 50 train steps"


def test_play_and_learning_keep_their_ratio(finished):
    run, run_dir, _ = finished
    schedule, tick = run.config.schedule, 8
    pacing, meta = Pacing(schedule, tick_env_steps=tick), load_weights(newest(run_dir)).meta
    assert schedule.env_steps <= meta["env_steps"] < schedule.env_steps + tick
    series = read_metrics(run_dir)["reanalyzer/env_steps"]
    assert len(series.steps) > 50
    for step, env_steps in zip(series.steps, series.values, strict=True):
        # The reanalyzer reads the two counters one after the other, and the batch is ahead of the learner.
        at_most = pacing.env_steps_due(step + 2) + 2 * tick
        assert pacing.env_steps_due(step) - tick <= env_steps <= at_most, step


def test_an_interruption_in_the_middle_of_the_start_leaves_nothing(tmp_path):
    """Of segments in a directory, as of those in /dev/shm."""
    folder = tmp_path / "segments"
    folder.mkdir()
    with WholeRun.start(tmp_path / "run", f"shm_dir={folder}") as run:
        run.wait_for(lambda: len(list(folder.iterdir())) > 5, "segments")
        assert all(name.startswith("sem.") for name in run.shared_names())
        os.killpg(run.process.pid, signal.SIGTERM)  # heeded like Ctrl-C, for which see tests/faults/test_whole_runs.py
        output = run.ends(130)
    assert "Traceback" not in output and f"shared in {folder}" in output and list(folder.iterdir()) == []


def test_output_that_nobody_reads_any_more_ends_the_run_in_order(tmp_path):
    """Such as a window that was closed. A note that cannot be written must not keep the roles from being ended."""
    with WholeRun.start(tmp_path / "run", "schedule.train_steps=100000", "schedule.env_steps=400000") as run:
        run.wait_for_step(3)
        assert run.process.stdout is not None
        run.process.stdout.close()
        assert run.process.wait(timeout=LIMIT_S) == 130
        assert run.group() == [] and run.shared_names() == []
    assert load_weights(newest(tmp_path / "run")).meta["step"] >= 3
    assert "treated as a hang-up" in (tmp_path / "run" / "log.txt").read_text()


def test_interrupts_are_counted_and_raised_only_when_nobody_else_runs():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.count == 1
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_from_now_on()
        with pytest.raises(KeyboardInterrupt):  # such as during the final evaluation
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_warnings_of_batch_systems_count_once():
    with Interrupts() as interrupts:
        for number in (signal.SIGUSR1, signal.SIGXCPU, signal.SIGXCPU, signal.SIGUSR2):
            signal.raise_signal(number)
            assert interrupts.count == 1
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.count == 2
