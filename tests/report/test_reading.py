"""What is read off a run's directory, whatever state the run is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speedyzero.report.reading import is_locked, read_run
from speedyzero.system.writer_lock import WriterLock
from tests.report.run_dirs import make_run


def test_evaluations_stand_where_their_weights_were_made(tmp_path: Path):
    """Not where their scores became known, 7 s later."""
    found = read_run(make_run(tmp_path / "run")).evaluations
    np.testing.assert_array_equal(found.steps, [100, 200, 300, 400])
    np.testing.assert_allclose(found.env_steps[:3], [500, 900, 1300])
    np.testing.assert_allclose(found.times_s[:3], [60, 110, 160])
    np.testing.assert_allclose(found.mean - found.low, 1.5)
    np.testing.assert_allclose(found.high - found.mean, 1.25)


def test_the_head_start_counts_by_time(tmp_path: Path):
    """Before the learner's first step env steps are known by the clock alone."""
    run = read_run(make_run(tmp_path / "run"))
    np.testing.assert_allclose(run.env_steps_by(np.array([0.0, 5.0, 10.0, 60.0])), [0, 50, 100, 500])
    inline = read_run(make_run(tmp_path / "inline", processes=()))
    np.testing.assert_allclose(inline.env_steps_by(np.array([0.0, 5.0, 10.0, 60.0])), [0, 50, 100, 500])


@pytest.mark.parametrize(
    ("reached", "sittings", "held", "state"),
    [
        (400, 1, False, "finished"),
        (200, 1, False, "stopped at train step 200 of 400"),
        (200, 1, True, "at work, at train step 200 of 400"),
        (400, 3, False, "finished; resumed 2 times"),
    ],
)
def test_states(tmp_path: Path, reached: int, sittings: int, held: bool, state: str):
    run_dir = make_run(tmp_path / "run", reached=reached, sittings=sittings)
    if not held:
        assert read_run(run_dir).state == state
        return
    with WriterLock(run_dir / "checkpoints" / "lock", cargo="a run"):
        assert read_run(run_dir).state == state
    assert read_run(run_dir).state == "stopped at train step 200 of 400"


def test_a_lock_is_looked_at_and_not_taken(tmp_path: Path):
    path = tmp_path / "lock"
    assert not is_locked(path)
    with WriterLock(path, cargo="it"):
        assert is_locked(path)
    assert not is_locked(path)
    WriterLock(path, cargo="it").release()  # nobody is in the way


def test_a_run_that_died_names_its_tracebacks(tmp_path: Path):
    run_dir = make_run(tmp_path / "run", reached=120, evaluated=False)
    (run_dir / "crash.learner-0.txt").write_text("Traceback")
    run = read_run(run_dir)
    assert run.state.endswith("tracebacks in crash.learner-0.txt") and run.scores == {}


def test_a_run_of_its_first_seconds(tmp_path: Path):
    run_dir = make_run(tmp_path / "run", reached=0, evaluated=False)
    (run_dir / "metrics.jsonl").unlink()
    run = read_run(run_dir)
    assert (run.train_steps, run.env_steps, run.duration_s, len(run.evaluations.mean)) == (0, 0, 0.0, 0)


def test_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no config\.yaml there"):
        read_run(tmp_path)
    run_dir = make_run(tmp_path / "run")
    (run_dir / "metrics.jsonl").write_text("nonsense\n")
    with pytest.raises(ValueError, match="line 1 is not a metric"):
        read_run(run_dir)
