"""A run whose learners fell continues from its last checkpoint, a limited number of times, and says so."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.supervisor import train
from speedyzero.supervisor.crew import LearnerGroupDied
from speedyzero.supervisor.resume import OpenedRun
from speedyzero.supervisor.run_profile import RunProfile
from speedyzero.supervisor.session import Session
from tests.faults.small_run import NEWER, make_small_run, small_config


class Falling:
    """Instead of the roles: the learners fall so many times, then the run is done."""

    def __init__(self, falls: int):
        self.falls, self.resumed_at = falls, []

    def roles(self, session, resume):
        self.resumed_at.append(resume.step if resume else None)
        return self

    def run(self, session, roles):
        if len(self.resumed_at) <= self.falls:
            raise LearnerGroupDied(f"learner-0 died by signal SIGKILL, number {len(self.resumed_at)}")


def go_on(monkeypatch, run_dir, falling, *, restarts=3, interruptions=0):
    """Everything that was noted, and the roles that ended in order."""
    config = small_config()
    config = replace(config, checkpoint=replace(config.checkpoint, restarts=restarts))
    notes: list[str] = []
    monkeypatch.setattr(train, "_run", falling.run)
    keeper = SimpleNamespace(note=notes.append, metrics=SimpleNamespace(flush=lambda: notes.append("flushed")))
    with CheckpointStore(run_dir) as store:
        opened, interrupts = OpenedRun(run_dir, store), SimpleNamespace(count=interruptions)
        session = Session(config, opened, keeper, interrupts, RunProfile(None, config, run_dir, note=print))
        return notes, train._run_on(session, falling, None)


def test_falls_are_told_and_the_run_goes_on(tmp_path, monkeypatch):
    make_small_run(tmp_path)
    falling = Falling(3)
    notes, roles = go_on(monkeypatch, tmp_path, falling)
    assert roles is falling and falling.resumed_at == [None, NEWER, NEWER, NEWER]
    told = [note for note in notes if "SIGKILL" in note]
    assert [f"({number} of 3 times)" in note for number, note in enumerate(told, 1)] == [True] * 3
    assert all(f"checkpoint of train step {NEWER}" in note for note in told) and "flushed" in notes


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_fall_too_many_ends_the_run(tmp_path, monkeypatch, restarts):
    make_small_run(tmp_path)
    falling = Falling(9)
    with pytest.raises(LearnerGroupDied, match=f"number {restarts + 1}"):
        go_on(monkeypatch, tmp_path, falling, restarts=restarts)
    assert len(falling.resumed_at) == restarts + 1


def test_without_a_checkpoint_the_first_fall_is_the_end(tmp_path, monkeypatch):
    falling = Falling(1)
    with pytest.raises(LearnerGroupDied, match="number 1"):
        go_on(monkeypatch, tmp_path, falling)


def test_an_interrupted_run_does_not_begin_again(tmp_path, monkeypatch):
    make_small_run(tmp_path)
    with pytest.raises(LearnerGroupDied):
        go_on(monkeypatch, tmp_path, Falling(1), interruptions=1)
