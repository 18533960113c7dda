"""What is read off a run's directory, whatever state the run is in."""

from pathlib import Path

import numpy as np

from speedyzero.report.reading import read_run
from speedyzero.report.utilisation import shares_of
from speedyzero.system.writer_lock import WriterLock
from tests.report.run_dirs import make_run


def test_the_head_start_counts_by_time(tmp_path: Path):
    """Before the learner's first step env steps are known by the clock alone."""
    for run_dir in (make_run(tmp_path / "run"), make_run(tmp_path / "inline", processes=())):
        found = read_run(run_dir).env_steps_by(np.array([0.0, 5.0, 10.0, 60.0]))
        np.testing.assert_allclose(found, [0, 50, 100, 500])


def test_states(tmp_path: Path):
    done, half = make_run(tmp_path / "done", sittings=3), make_run(tmp_path / "half", reached=200)
    assert read_run(done).state == "finished; resumed 2 times"
    with WriterLock(half / "checkpoints" / "lock", cargo="a run"):
        assert read_run(half).state == "at work, at train step 196 of 400"
    (half / "crash.learner-0.txt").write_text("Traceback")
    assert read_run(half).state == "stopped at train step 196 of 400; tracebacks in crash.learner-0.txt"


def test_a_run_of_its_first_seconds(tmp_path: Path):
    run_dir = make_run(tmp_path / "run", reached=0, evaluated=False)
    (run_dir / "metrics.jsonl").unlink()
    run = read_run(run_dir)
    assert (run.train_steps, run.env_steps, run.duration_s, run.scores) == (0, 0, 0.0, [])


def test_the_processes_of_other_nodes_are_read_too(tmp_path: Path):
    run_dir = make_run(tmp_path / "run")
    make_run(run_dir / "nodes" / "1")
    (run_dir / "nodes" / "1" / "crash.actor-0.txt").write_text("Traceback")
    run = read_run(run_dir)
    shares = shares_of(run)
    assert {process for process in shares if process.startswith("1/")} == {
        f"1/{process}" for process in shares_of(read_run(run_dir / "nodes" / "1"))
    }
    assert len(shares) == 2 * len(shares_of(read_run(run_dir / "nodes" / "1"))) > 0
    assert run.crashes == ("nodes/1/crash.actor-0.txt",)
