"""Spans: what is recorded, handed on and counted, and that every name has a place."""

import gzip
import json

import numpy as np
import pytest
import torch

from speedyzero.runtime.role_process import gpu_activity
from speedyzero.runtime.shared_edges import SpanSender
from speedyzero.shm import Board, BoardSpec, RecordLayout, Ring, RingSpec
from speedyzero.topology.records import SPAN_FIELDS, SPAN_NAMES, SPANS_PER_BLOCK, SpanBlock
from speedyzero.tracing import spans as spans_module
from speedyzero.tracing.process_spans import NO_MORE, NOT_YET, WANTED, ProcessSpans
from speedyzero.tracing.span_store import SpanStore
from speedyzero.tracing.spans import Recorder, Span, activate

MS = 1_000_000
STEP, SEARCH, UPDATE = (SPAN_NAMES.index(name) for name in ("step", "search", "update"))

SPAN_LAYOUT = RecordLayout.stored(SpanBlock, {"N": SPANS_PER_BLOCK, "F": SPAN_FIELDS})


@pytest.fixture(autouse=True)
def nobody_records_afterwards():
    yield
    activate(None)


class Clock:
    """Every look at it is a millisecond later."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += MS
        return self.now_ns


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(spans_module, "monotonic_ns", clock)
    monkeypatch.setattr("speedyzero.tracing.process_spans.monotonic_ns", clock)
    return clock


def test_spans_lie_inside_one_another(clock):
    store = SpanStore()
    recorder = Recorder(lambda block: store.add("learner-0", block))
    with Span("update"):  # nobody records
        pass
    activate(recorder)
    outer, inner = Span("update"), Span("search", nbytes=7)
    with outer, pytest.raises(ArithmeticError), inner:
        raise ArithmeticError
    with outer:
        pass
    activate(None)
    with outer:
        pass
    recorder.flush(20 * MS)
    expected = [[SEARCH, 3 * MS, MS, 7], [UPDATE, 2 * MS, 3 * MS, 0], [UPDATE, 6 * MS, MS, 0]]
    assert store.spans("learner-0").tolist() == expected
    assert store.covered("learner-0") == [(MS, 20 * MS)] and store.spans("nobody").shape == (0, 4)


def test_a_full_buffer_is_handed_on():
    sent: list[SpanBlock] = []

    def send(block: SpanBlock) -> None:
        sent.append(SpanBlock(block.count, block.since_ns, block.until_ns, block.span.copy()))

    recorder = Recorder(send)
    for index in range(2 * SPANS_PER_BLOCK + 3):
        recorder.add(STEP, index, index + 1)
    recorder.flush(10_000)
    assert [block.count for block in sent] == [SPANS_PER_BLOCK, SPANS_PER_BLOCK, 3]
    starts = np.concatenate([block.span[: block.count, 1] for block in sent])
    assert starts.tolist() == list(range(2 * SPANS_PER_BLOCK + 3))
    assert [block.since_ns for block in sent[1:]] == [block.until_ns for block in sent[:-1]]


def test_spans_that_a_full_ring_does_not_take_are_counted(run):
    spec = RingSpec("spans", SPAN_LAYOUT, 2)
    Ring.create(run, spec)
    board = Board.create(run, BoardSpec("board", ("supervisor", "actor-0"), ("dropped_spans",)))
    send = SpanSender(run, spec, board.row("actor-0"))
    for _ in range(4):
        send(SpanBlock(3, 0, 5, np.zeros((SPANS_PER_BLOCK, 4), np.int64)))
    assert board.counter("actor-0", "dropped_spans") == 2 * 3


def test_ranges_for_a_profiler_outside_are_opened_and_closed():
    class Ranges:
        told: list[str] = []

        def range_push(self, name: str) -> None:
            self.told.append(name)

        def range_pop(self) -> None:
            self.told.append("pop")

    activate(Recorder(lambda block: None, nvtx=Ranges()))
    with Span("update"), Span("search"):
        pass
    assert Ranges.told == ["update", "search", "pop", "pop"]


def test_gpu_activity_is_written_where_it_ends(tmp_path):
    activity = gpu_activity(tmp_path, "learner-0")
    activity.start()
    torch.ones(4).sum()
    activity.stop()
    with gzip.open(tmp_path / "kernels.learner-0.json.gz", "rt") as file:
        assert any(event["name"] == "aten::sum" for event in json.load(file)["traceEvents"])


def test_a_store_is_bounded_and_keeps_samples_that_changed():
    store = SpanStore(limit=4)
    block = SpanBlock(2, 0, 5, np.arange(1024).reshape(256, 4))
    store.add("a", block)
    block.span[:] = -1  # the sender's own again
    store.sample(1, {"ring": 2, "other": 0})
    store.sample(2, {"ring": 2, "other": 1})
    assert store.samples() == {"ring": [(1, 2)], "other": [(1, 0), (2, 1)]}
    assert store.full and store.spans("a").tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    store.add("a", SpanBlock(0, 9, 12, block.span))  # some were lost between 5 and 9
    assert store.covered("a") == [(0, 5), (9, 12)]


class Process:
    """A role's loop and its supervisor's wish."""

    def __init__(self):
        self.wanted, self.heeded, self.blocks = NOT_YET, [], []
        self.spans = ProcessSpans(self.recorder, wanted=lambda: self.wanted, acknowledged=self.heeded.append)

    def recorder(self) -> Recorder:
        return Recorder(self.send)

    def send(self, block: SpanBlock) -> None:
        self.blocks.append(block.span[: block.count].copy())

    def told(self) -> list[tuple[str, int, int]]:
        """Name, start and end in ms."""
        table = np.concatenate(self.blocks).tolist()
        return [(SPAN_NAMES[number], start // MS, (start + length) // MS) for number, start, length, _ in table]


def test_a_process_records_for_as_long_as_it_is_wanted(clock):
    process = Process()
    spans = process.spans
    spans.follow()
    spans.round("", 0, MS)
    process.wanted = WANTED
    spans.follow()
    spans.round("", 10 * MS, 20 * MS)
    spans.round("wait_input_ns", 20 * MS, 25 * MS)
    spans.round("wait_input_ns", 25 * MS, 30 * MS)
    spans.round("wait_space_ns", 30 * MS, 35 * MS)
    spans.round("wait_space_ns", 36 * MS, 40 * MS)  # after a save between two loops
    spans.round("", 40 * MS, 41 * MS)
    assert process.blocks == [] and process.heeded == [WANTED]
    process.wanted = NO_MORE
    spans.follow()
    spans.round("", 50 * MS, 60 * MS)
    assert process.heeded == [WANTED, NO_MORE]
    expected = [
        ("step", 10, 20),
        ("wait_input", 20, 30),
        ("wait_space", 30, 35),
        ("wait_space", 36, 40),
        ("step", 40, 41),
    ]
    assert process.told() == expected
    spans.end()
    assert len(process.blocks) == 1


def test_what_is_half_a_second_old_is_sent_a_long_wait_too(clock):
    process = Process()
    process.wanted = WANTED
    process.spans.follow()
    for start_ms in range(0, 1200, 5):
        process.spans.round("wait_pacing_ns", start_ms * MS, (start_ms + 5) * MS)
    assert process.told() == [("wait_pacing", 0, 505), ("wait_pacing", 505, 1005)]
    process.spans.end()
    assert process.told()[-1] == ("wait_pacing", 1005, 1200)
