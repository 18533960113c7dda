"""The checkpoint of two nodes: one manifest, of the first, with the files that the other reports, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from speedyzero.checkpoint.manifest import read_manifest
from speedyzero.checkpoint.store import CheckpointStore, write_share
from speedyzero.checkpoint.stored import resumable
from speedyzero.config import Config
from speedyzero.nodes.share import Share
from speedyzero.nodes.watch import Elsewhere, Written
from speedyzero.supervisor import saves as saves_module
from speedyzero.supervisor.saves import Reporter, Saves

STEP = 40
FIRST = {"learner": {"weights.safetensors": b"w", "meta.json": b"{}", "state.json": b"{}"}, "replay_0": {"0": b"a"}}
OTHER = "node 1 (there)"


@dataclass
class Nodes:
    """In place of a watch."""

    run_dir: Path
    node: int = 0
    elsewhere: Elsewhere = field(default_factory=lambda: Elsewhere(awaited=(OTHER,)))
    written: list[Written] = field(default_factory=list)
    polls_left: int = 0  # in which the other may still report
    reports: Callable[[], Elsewhere] | None = None

    @property
    def share(self) -> Share:
        return Share(self.node, 2)

    def publish_written(self, written: Written) -> None:
        self.written.append(written)

    def written_elsewhere(self, step: int) -> Elsewhere:
        assert step == STEP
        return self.elsewhere

    def may_report(self) -> bool:
        self.polls_left -= 1
        if self.polls_left == 0 and self.reports:
            self.elsewhere = self.reports()
        return self.polls_left >= 0


def saves_of(nodes: Nodes, store: CheckpointStore | Reporter, notes: list[str], **unsaved: int) -> Saves:
    """After the snapshot, when all processes of the node but those in `unsaved` have written."""
    counters = {("learner-0", "snapshot_step"): STEP}
    for name in ("learner-0", "reanalyzer-0"):
        is_unsaved = name.replace("-", "_") in unsaved
        counters[name, "saved_step"], counters[name, "unsaved_step"] = (0, STEP) if is_unsaved else (STEP, 0)
    board = SimpleNamespace(counter=lambda name, counter: counters[name, counter])
    row = SimpleNamespace(set_counter=lambda counter, step: notes.append(f"{counter} {step}"))
    wiring = SimpleNamespace(placement=SimpleNamespace(shards=["cpu"]))
    return Saves(Config(), wiring, store, board, note=notes.append, row=row, flush=lambda: None, nodes=nodes)


@pytest.fixture
def first(tmp_path):
    """The first node's store, whose own files are written, and what it notes."""
    for writer, contents in FIRST.items():
        write_share(tmp_path, STEP, writer, contents, written={})
    with CheckpointStore(tmp_path) as store:
        yield Nodes(tmp_path), store, []


def reported(nodes: Nodes, store: CheckpointStore, tmp_path: Path) -> Elsewhere:
    """What the other node reports, which writes its part."""
    write_share(tmp_path, STEP, "replay_1", {"1": b"b"}, written={})
    other = Nodes(tmp_path / "nodes" / "1", node=1)
    saves_of(other, Reporter(other), notes := []).follow()
    (written,) = other.written
    assert written.step == STEP and list(written.files) == ["1"] and notes == [f"saved_step {STEP}"]
    return Elsewhere(written.files)


def test_the_first_node_lists_the_files_of_all(first, tmp_path):
    nodes, store, notes = first
    saves = saves_of(nodes, store, notes)
    saves.follow()
    assert notes == [] and resumable(tmp_path) == [], "one has not reported yet"
    nodes.elsewhere = reported(nodes, store, tmp_path)
    saves.follow()
    (directory,) = resumable(tmp_path)
    assert set(read_manifest(directory).files) == {*FIRST["learner"], "0", "1"} and notes == [f"saved_step {STEP}"]
    assert not list(directory.glob("manifest.*.json"))


def test_a_node_that_cannot_write_loses_the_checkpoint_only(first, tmp_path):
    nodes, store, notes = first
    other = Nodes(tmp_path / "nodes" / "1", node=1)
    saves_of(other, Reporter(other), their := [], reanalyzer_0=STEP).follow()
    assert other.written == [Written(STEP)] and "reanalyzer-0 could not; training continues" in their[-1]
    nodes.elsewhere = Elsewhere(failed=(OTHER,))
    saves_of(nodes, store, notes).follow()
    assert notes == [
        f"saved_step {STEP}",
        f"checkpoint of train step {STEP} was not saved, {OTHER} could not; training continues",
    ]
    assert list((tmp_path / "checkpoints").glob("step_*")) == []


def test_a_node_whose_list_is_gone_reports_that(tmp_path):
    other = Nodes(tmp_path / "nodes" / "1", node=1)
    saves_of(other, Reporter(other), notes := []).follow()
    assert other.written == [Written(STEP)] and "no checkpoint" in notes[0] and notes[1:] == [f"saved_step {STEP}"]


def test_a_node_that_does_not_report_in_time_loses_the_checkpoint(first, tmp_path, monkeypatch):
    nodes, store, notes = first
    now_s = [1000.0]
    monkeypatch.setattr(saves_module.time, "monotonic", lambda: now_s[0])
    saves = saves_of(nodes, store, notes)
    for now_s[0] in (1000.0, 1060.0):
        saves.follow()
    assert notes == []
    now_s[0] = 1060.1
    saves.follow()
    assert f"{OTHER} could not; training continues" in notes[-1] and resumable(tmp_path) == []


def test_the_last_checkpoint_awaits_the_others(first, tmp_path):
    nodes, store, notes = first
    nodes.polls_left, nodes.reports = 3, lambda: reported(nodes, store, tmp_path)
    saves_of(nodes, store, notes).end(hurry=lambda: False)
    assert len(resumable(tmp_path)) == 1 and notes == [f"saved_step {STEP}"]


@pytest.mark.parametrize(("polls", "hurry"), [(3, False), (10**9, True)])
def test_the_last_checkpoint_is_given_up_without_the_others(first, tmp_path, polls, hurry):
    nodes, store, notes = first
    nodes.polls_left = polls
    saves_of(nodes, store, notes).end(hurry=lambda: hurry)
    assert notes[-1] == f"checkpoint of train step {STEP} was not saved: {OTHER} ended before writing it"
    assert resumable(tmp_path) == []
