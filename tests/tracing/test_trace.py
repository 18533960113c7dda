"""The trace file: what the Trace Event Format asks for, read back as it was, and refused where it is damaged."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import (
    TRACE_FILE,
    Trace,
    Track,
    put_aside,
    read_trace,
    settled_spans,
    write_trace,
)
from tests.tracing.trace_events import check_events

STEP, SEARCH, PUT = (SPAN_NAMES.index(name) for name in ("step", "search", "put"))


def a_trace(*, inline: bool = False) -> Trace:
    spans = np.array([[STEP, 1_000, 9_001, 0], [SEARCH, 1_000, 5_000, 0], [PUT, 6_000, 4_001, 4096]])
    actor = Track("actor-0", spans, [(0, 20_000)], 3, 0.5, 0.25, None)
    learner = Track("learner-0", np.zeros((0, 4), np.int64), [(0, 10_000), (12_000, 20_000)])
    return Trace(
        inline=inline,
        end_ns=20_000,
        learning_ns=5_000,
        tracks=[actor, learner],
        samples={"steps.actor-0": [(0, 1), (7_001, 2)]},
        waits_on={"actor-0": {"wait_pacing": ["learner-0"]}, "learner-0": {}},
        cores=2,
        machine_cpu_s=0.75,
        settings={"env.game": "Pong"},
    )


def events_of(path: Path) -> list[dict]:
    with gzip.open(path, "rt") as file:
        return json.load(file)["traceEvents"]


@pytest.mark.parametrize("inline", [False, True])
def test_a_trace_is_read_back_to_the_nanosecond(tmp_path, inline):
    trace, path = a_trace(inline=inline), tmp_path / TRACE_FILE
    write_trace(trace, path)
    back = read_trace(path)
    assert [path.name for path in tmp_path.iterdir()] == [TRACE_FILE]
    for before, after in zip(trace.tracks, back.tracks, strict=True):
        assert np.array_equal(before.spans, after.spans)
        assert vars(replace(after, spans=before.spans)) == vars(before)
    assert replace(back, tracks=trace.tracks) == trace
    check_events(events_of(path))


def test_processes_threads_spans_and_counters_are_events(tmp_path):
    write_trace(a_trace(), tmp_path / TRACE_FILE)
    events = events_of(tmp_path / TRACE_FILE)
    names = {(event["name"], event["args"].get("name")) for event in events if event["ph"] == "M"}
    assert {("process_name", "actor-0"), ("process_name", "learner-0")} <= names
    put = next(event for event in events if event["name"] == "put")
    assert put == {
        "name": "put",
        "cat": "span",
        "ph": "X",
        "ts": 6.0,
        "dur": 4.001,
        "pid": 1,
        "tid": 1,
        "args": {"bytes": 4096},
    }
    counted = [(event["ts"], event["args"]) for event in events if event["ph"] == "C"]
    assert counted == [(0.0, {"value": 1}), (7.001, {"value": 2})]


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "foreign", "unknown span"])
def test_a_damaged_trace_is_refused_in_one_line(tmp_path, damage):
    path = tmp_path / TRACE_FILE
    write_trace(a_trace(), path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "text":
        path.write_text("not compressed")
    else:
        with gzip.open(path, "rt") as file:
            text = file.read()
        with gzip.open(path, "wt") as file:
            file.write('{"traceEvents": []}' if damage == "foreign" else text.replace('"search"', '"lunch"'))
    with pytest.raises(ValueError, match=TRACE_FILE) as caught:
        read_trace(path)
    assert "\n" not in str(caught.value)


def test_an_earlier_trace_is_kept(tmp_path):
    path = tmp_path / TRACE_FILE
    put_aside(path)
    for content in ("one", "two"):
        path.write_text(content)
        put_aside(path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "trace.1.json.gz": "one",
        "trace.2.json.gz": "two",
    }


def test_spans_are_settled_outer_first_and_cut_at_the_begin():
    raw = np.array([[SEARCH, 110, 20, 0], [STEP, 90, 60, 0], [PUT, 150, 5, 1], [STEP, 150, 10, 0], [STEP, 40, 50, 0]])
    expected = [[STEP, 0, 50, 0], [SEARCH, 10, 20, 0], [STEP, 50, 10, 0], [PUT, 50, 5, 1]]
    assert settled_spans(raw, 100).tolist() == expected
    assert settled_spans(np.zeros((0, 4), np.int64), 0).shape == (0, 4)
