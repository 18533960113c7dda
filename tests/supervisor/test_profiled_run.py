"""Profiled runs, as processes and in one: the trace opens, its sums agree with other clocks, and it is read."""

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speedyzero import cli
from speedyzero.observe.metrics import read_metrics
from speedyzero.profile.command import load, report
from speedyzero.profile.shares import Window, shares_of
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing import profile_window
from speedyzero.tracing.process_spans import NO_MORE, NOT_YET, WANTED
from speedyzero.tracing.profile_window import ProfileWindow, parse_seconds
from speedyzero.tracing.trace import TRACE_FILE, read_trace
from tests.faults.whole_run import WholeRun
from tests.tracing.trace_events import check_events

PROCESSES = ["actor-0", "reanalyzer-0", "learner-0", "supervisor"]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A whole run of processes, all of it profiled, and what it printed."""
    run_dir = tmp_path_factory.mktemp("profiled") / "run"
    settings = ["schedule.train_steps=60", "schedule.env_steps=760", "evaluate.episodes=1"]
    with WholeRun.start(run_dir, *settings, flags=["--profile"]) as run:
        output = run.output()
        assert run.process.returncode == 0, output
        assert run.shared_names() == []
        yield run_dir, output


def test_the_trace_is_whole_and_read_by_the_command(profiled, capsys):
    run_dir, output = profiled
    assert f"python -m speedyzero profile {run_dir}" in output
    with gzip.open(run_dir / TRACE_FILE, "rt") as file:
        check_events(json.load(file)["traceEvents"])
    assert cli.run(cli.check_command, ["profile", str(run_dir)], prog="speedyzero") == cli.DONE
    printed = capsys.readouterr().out
    for part in (*PROCESSES, "unaccounted", "critical path", "bottleneck"):
        assert part in printed


def test_every_process_is_on_one_clock_and_none_lost_a_span(profiled):
    trace = read_trace(profiled[0] / TRACE_FILE)
    assert [track.name for track in trace.tracks] == PROCESSES
    for track in trace.tracks:
        assert track.dropped == 0 and len(track.covered) == 1, track
        assert 0 <= track.covered[0][0] < trace.learning_ns < track.covered[0][1]
        names = {SPAN_NAMES[number] for number in np.unique(track.spans[:, 0])}
        assert names >= ({"sleep", "drain_metrics"} if track.name == "supervisor" else {"step"}), track.name
    learner = next(track for track in trace.tracks if track.name == "learner-0")
    assert (learner.spans[:, 0] == SPAN_NAMES.index("update")).sum() == 60
    assert 0 < max(held for _, held in trace.samples["batches.0-0"]) <= 2
    assert max(value for _, value in trace.samples["train_steps"]) <= 60


def test_spans_agree_with_what_the_processes_booked_on_the_board(profiled):
    """Two clocks: what the loop booked, summed up in the metrics, and the spans that it told."""
    trace, metrics = read_trace(profiled[0] / TRACE_FILE), read_metrics(profiled[0])
    whole = Window(0, max(until for track in trace.tracks for _, until in track.covered))
    for track in trace.tracks[:-1]:
        shares = shares_of(track, whole)
        for wait, waited_s in shares.waits_s.items():
            assert metrics[f"time/{track.name}/{wait}_s"].values[-1] == pytest.approx(waited_s, abs=0.05), wait
        saved_last_s = 5.0  # a save between the last step and the end is a span, and not booked by the loop
        slack_s = 0.05 + 0.02 * shares.wall_s  # the clocks are read one after the other, and a core may be lost between
        assert -slack_s < shares.busy_s - metrics[f"time/{track.name}/busy_s"].values[-1] < saved_last_s
        assert abs(shares.unaccounted_s) < 0.5 * shares.wall_s


def test_a_run_in_one_process_is_a_trace_of_turns(tmp_path, capsys):
    words = "--game Catch --gpus 0 --inline --profile schedule.env_steps=600 schedule.train_steps=20".split()
    small = "search.num_simulations=2 learner.batch_size=8 evaluate.episodes=1 evaluate.video=false".split()
    run_dir = tmp_path / "run"
    assert cli.run(cli.check_train, [*words, *small, "--run-dir", str(run_dir)], prog="train.py") == cli.DONE
    trace, diagnosis = load(run_dir)
    assert trace.inline and [track.name for track in trace.tracks] == PROCESSES
    learner = trace.tracks[2]
    assert (learner.spans[:, 0] == SPAN_NAMES.index("update")).sum() == 20
    assert sum(diagnosis.path.share(name) for name in PROCESSES) == pytest.approx(1.0)
    text = report(trace, diagnosis, run_dir)
    assert "all, in turns" in text and "of the roles' sequential work" in text.splitlines()[0]
    assert capsys.readouterr().err  # progress


class Clock:
    now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(profile_window, "time", clock)
    return clock


def test_seconds_begin_when_learning_has_begun(clock):
    window = ProfileWindow(2.0)
    clock.now_ns = 5
    assert not window.follow(learning=False, full=False) and window.state == NOT_YET
    clock.now_ns = 1_000
    assert window.follow(learning=True, full=False) and window.state == WANTED
    clock.now_ns += 1_999_999_999
    assert not window.follow(learning=True, full=False)
    clock.now_ns += 1
    assert window.follow(learning=True, full=False) and window.state == NO_MORE
    assert (window.begin_ns, window.end_ns, window.learning_ns) == (1_000, 2_000_001_000, 1_000)
    clock.now_ns += 10
    window.stop()
    assert window.end_ns == 2_000_001_000


def test_a_whole_run_is_bounded_by_what_a_trace_holds(clock):
    window = ProfileWindow(math.inf)
    clock.now_ns = 10
    assert window.follow(learning=False, full=False) and window.state == WANTED
    clock.now_ns = 50
    window.follow(learning=True, full=False)
    clock.now_ns = 90
    assert window.follow(learning=True, full=True) and window.state == NO_MORE
    assert (window.begin_ns, window.learning_ns, window.end_ns) == (10, 50, 90)


@pytest.mark.parametrize("words", ["0", "-1", "nan", "inf", "soon"])
def test_what_is_no_time_is_refused(words):
    with pytest.raises(ValueError, match=f"--profile {words}: must be seconds above 0"):
        parse_seconds(words)


def test_a_time_or_none():
    assert parse_seconds("") == math.inf and parse_seconds("2.5") == 2.5
