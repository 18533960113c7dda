"""Whole runs whose processes are killed under load. Contract rows 3, 5 (one rank) and 6.

The default suite strikes each process once; SOAK=1 makes the contract's counts.
"""

import os
import random
import re
import signal
import time

import pytest

from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.observe.metrics import read_metrics
from speedyzero.role_process import WORKING
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.wiring import LEARNER, REANALYZER
from tests.faults.ring_contract import reached, share
from tests.faults.whole_run import WholeRun

ENDLESS = ("schedule.train_steps=100000", "schedule.env_steps=400000")


def strike(run, name):
    """SIGKILL a process; seconds until its successor works."""
    pid = run.pid_of(name)
    os.kill(pid, signal.SIGKILL)

    def replaced():
        return run.pid_of(name) != pid and run.board.state(name) == WORKING

    return run.wait_for(replaced, f"a successor of {name}")


def test_a_killed_actor_and_a_killed_reanalyzer_are_replaced_and_the_run_ends_well(tmp_path):
    runs, kills = (10, 5) if share(50) == 50 else (1, 1)  # kills of each in a run: as often as it is replaced
    worst_s = 0.0
    for trial in range(runs):
        run_dir, rng = tmp_path / f"{trial}", random.Random(trial)
        with WholeRun.start(run_dir, "schedule.train_steps=300") as run:
            at = sorted(rng.sample(range(2, 250), 2 * kills))
            for number, train_step in enumerate(at):
                run.wait_for_step(train_step)
                worst_s = max(worst_s, strike(run, ("actor-0", REANALYZER)[number % 2]))
            output = run.output()
            assert run.process.returncode == 0, output
            assert run.group() == [] and run.shared_names() == []
        assert len(re.findall("died and is replaced .* by signal SIGKILL", output)) == 2 * kills
        metrics = {name: series.values[-1] for name, series in read_metrics(run_dir).items()}
        assert metrics["supervisor/restarts"] == 2 * kills
        for ring in ("steps.actor-0", "batches.0-0", "priorities.0-0"):
            assert metrics[f"ring/{ring}/unaccounted"] == metrics[f"ring/{ring}/dropped"] == 0
        # A reanalyzer that dies between the append and the release finds the record again and appends it once.
        assert metrics["ring/steps.actor-0/consumed"] * 16 >= 1000
        assert load_weights(newest(run_dir)).meta["step"] == 300
    reached(3, f"{runs * kills} kills of actors and of reanalyzers, replaced after at most {worst_s:.1f} s")


def test_a_killed_learner_ends_the_run_and_is_named(tmp_path):
    for trial in range(share(20) // 2):
        rng = random.Random(trial)
        with WholeRun.start(tmp_path / f"{trial}", *ENDLESS) as run:
            run.wait_for_step(rng.randrange(1, 60))
            os.kill(run.pid_of(LEARNER), signal.SIGKILL)
            started_s = time.monotonic()
            output = run.output()
            took_s = time.monotonic() - started_s
            assert run.process.returncode == 1 and "RunFailed: learner-0 died by signal SIGKILL" in output, output
            assert run.group() == [] and run.shared_names() == []
    reached(5, f"one learner rank killed {trial + 1} times: the run ended, the last time after {took_s:.1f} s")


@pytest.mark.parametrize("moment", ["start", "work"])
def test_nobody_outlives_the_supervisor_and_the_next_start_sweeps(moment, tmp_path):
    worst_s = 0.0
    for trial in range(share(20) // 2):
        rng = random.Random(trial)
        with WholeRun.start(tmp_path / f"{trial}", *ENDLESS) as run:
            if moment == "work":
                run.wait_for_step(rng.randrange(1, 60))
            else:
                children = 1 + rng.randrange(3)
                run.wait_for(lambda run=run: bool(run.shared_names()), "shared memory")
                run.wait_for(lambda run=run, children=children: len(run.group()) > children, "children")
            os.kill(run.process.pid, signal.SIGKILL)
            run.process.wait()
            started_s = time.monotonic()
            while run.group():
                assert time.monotonic() - started_s < 60, "somebody goes on"
                time.sleep(0.01)
            worst_s = max(worst_s, time.monotonic() - started_s)
            assert run.shared_names(), "SIGKILL leaves everything"
            wire_where_it_fits(run.config)  # what a start does before anything else
            assert run.shared_names() == []
    reached(6, f"supervisor killed at {moment}: the last descendant ended after {worst_s:.1f} s")
