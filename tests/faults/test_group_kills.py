"""Two learner ranks over gloo, one of which is killed or stopped. Contract row 5; and such a run left alone."""

import os
import random
import signal
import time

import pytest

from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.observe.metrics import read_metrics
from speedyzero.runtime.wiring import learner_name
from tests.faults.ring_contract import is_soak, reached, share
from tests.faults.whole_run import WholeRun

TWO_RANKS = ("learner.ranks=2",)
ENDLESS = (*TWO_RANKS, "schedule.train_steps=100000", "schedule.env_steps=400000")


@pytest.mark.contract(5)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_rank_ends_the_group_and_the_run(number, tmp_path):
    """A stopped one is told by its missing pulse. Both ranks in turn, at a random step."""
    worst_s, trials = 0.0, share(20) if is_soak() else 1  # each starts six processes
    # The soak waits as long for a pulse as a user's run does.
    patience = () if trials == 20 else ("supervisor.silent_s=4",)
    for trial in range(trials):
        rng = random.Random(trial)
        victim = learner_name((trial + (number == signal.SIGSTOP)) % 2)
        with WholeRun.start(tmp_path / f"{trial}", *ENDLESS, *patience) as run:
            run.wait_for_step(rng.randrange(1, 60))
            os.kill(run.pid_of(victim), number)
            started_s = time.monotonic()
            output = run.ends(1)
            worst_s = max(worst_s, time.monotonic() - started_s)
            assert f"LearnerGroupDied: {victim} died by signal SIGKILL" in output, output
    reached(5, counts={f"{number.name}s of a rank of two": trials}, worst_s=worst_s)


def test_two_ranks_on_two_shards_end_by_themselves(tmp_path):
    settings = (*TWO_RANKS, "replay.shards=2", "actor.envs=8")
    with WholeRun.start(tmp_path / "run", *settings) as run:
        run.ends()
    metrics = {name: series.values[-1] for name, series in read_metrics(tmp_path / "run").items()}
    for pair in ("0-0", "1-1"):
        for ring in (f"batches.{pair}", f"priorities.{pair}"):
            assert metrics[f"ring/{ring}/unaccounted"] == metrics[f"ring/{ring}/dropped"] == 0
        assert metrics[f"ring/batches.{pair}/consumed"] == 120
    assert metrics["time/learner-1/wait_group_s"] > 0
    assert load_weights(newest(tmp_path / "run")).meta["step"] == 120
