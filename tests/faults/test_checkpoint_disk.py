"""A disk that is full or fails costs a checkpoint, never the run nor the checkpoints that there are."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from speedyzero.checkpoint.manifest import checkpoint_dir
from speedyzero.observe.metrics import read_metrics
from speedyzero.supervisor.inline import InlineRun
from speedyzero.supervisor.resume import find_resumable
from tests.checkpoint.failing_calls import FailingCalls
from tests.faults.inline_runs import advance
from tests.faults.ring_contract import reached, share
from tests.faults.small_run import copy_of, resumed, save

EACH = 20
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_dir(made, tmp_path) -> Path:
    return copy_of(made, tmp_path / "run")


@pytest.fixture
def run(run_dir) -> Iterator[InlineRun]:
    run = resumed(run_dir)
    yield run
    run.close()


@contextmanager
def failing(number: int, trial: int) -> Iterator[None]:
    """An error at one system call."""
    with pytest.MonkeyPatch.context() as patch:
        calls = FailingCalls(patch)
        calls.begin(fail_at=2 + 3 * trial, failure=lambda: OSError(number, os.strerror(number)))
        yield
        calls.end()


@contextmanager
def limited(trial: int) -> Iterator[None]:
    """As a quota on the size of files: what fits is written, what does not fails in its middle."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200 + 3000 * trial, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


STRIKES = {"ENOSPC": partial(failing, errno.ENOSPC), "EIO": partial(failing, errno.EIO), "RLIMIT_FSIZE": limited}


def strike(run: InlineRun, run_dir: Path, struck: Callable[[], AbstractContextManager]) -> list[str]:
    """Train on, save while `struck` holds, and see that all there was before is as it was; what the user was told."""
    step = run.learner.train_step + 1
    advance(run, to_step=step)
    before = find_resumable(run_dir)[1].step
    told = [line for line in save(run, run_dir, struck) if "was not saved" in line]
    found = find_resumable(run_dir)[1]
    assert found.step in (before, step) and (told == []) == (found.step == step)
    return told


def assert_recovered(run: InlineRun, run_dir: Path) -> None:
    """Once the disk takes it again."""
    advance(run, to_step=run.learner.train_step + 1)
    assert save(run, run_dir) == []
    assert find_resumable(run_dir)[1].step == run.learner.train_step
    run.close()
    successor = resumed(run_dir)
    advance(successor, to_step=successor.learner.train_step + 2)
    successor.close()


@pytest.mark.contract(14)
@pytest.mark.parametrize("name", STRIKES)
def test_a_save_that_fails(run, run_dir, name):
    told, count = [], share(EACH)
    for trial in range(count):
        told += strike(run, run_dir, partial(STRIKES[name], trial))
    assert told
    assert_recovered(run, run_dir)
    reached(14, f"{count} saves under {name}: {len(told)} lost and told", counts={name: count})


@pytest.mark.contract(14)
def test_a_full_disk_lets_a_run_train_to_its_end(tmp_path):
    """No file grows over 4 KiB: neither weights nor metrics have room. What is lost is told, and the run trains on."""
    words = (
        "schedule.env_steps=640 schedule.train_steps=40 schedule.head_start_env_steps=520 evaluate.episodes=2".split()
    )
    interval = ["evaluate.interval_train_steps=10", "evaluate.interval_episodes=1", "evaluate.video=false"]
    command = [sys.executable, "train.py", "--game", "Catch", "--inline", "--run-dir", str(tmp_path / "run")]
    run = subprocess.run(
        ["bash", "-c", 'ulimit -f 4 && exec "$@"', "train", *command, *words, *interval],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    output = run.stdout + run.stderr
    assert run.returncode == 1, output
    assert "metrics cannot be written, training continues" in output
    for step in (10, 20, 30, 40):
        assert f"no score of train step {step}: its weights were not saved" in output
    assert "trained to train step 40, but the weights could not be saved" in output
    assert "metrics were never written" in output
    read_metrics(tmp_path / "run")  # whatever there was room for is whole


@pytest.mark.contract(14)
def test_a_damaged_older_checkpoint_costs_no_newer_one(run, run_dir):
    step = run.learner.train_step
    assert save(run, run_dir) == []
    advance(run, to_step=step + 1)
    part = checkpoint_dir(run_dir, step) / "replay_0.json"
    part.write_bytes(part.read_bytes()[:-7])
    told = save(run, run_dir)
    assert find_resumable(run_dir)[1].step == step + 1
    assert not any("was not saved" in line for line in told)
