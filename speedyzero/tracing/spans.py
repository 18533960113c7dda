"""Spans: named intervals of a process's time. About a microsecond each; nearly free without an active recorder.

    SEARCH = Span("search")                    once, at module level
    with SEARCH: ...                           records a span, if a recorder is active in this process

A recorder buffers spans and sends the buffer as one record when it is full or half a second old. Records that cannot be
sent are dropped and counted. Only the role's thread records; roles that take turns in one process each have a recorder,
active during their turn. Recorders are switched between two steps of a role, so no span is partial.
"""

from collections.abc import Callable
from time import monotonic_ns
from types import ModuleType

import numpy as np

from speedyzero.topology.records import SPAN_FIELDS, SPAN_NAMES, SPANS_PER_BLOCK, SpanBlock

FLUSH_AFTER_NS = 500_000_000
_WORDS = SPANS_PER_BLOCK * SPAN_FIELDS


class Recorder:
    """Records one role's spans. `send` copies a block, or drops it. nvtx: `torch.cuda.nvtx`, for ranges."""

    def __init__(self, send: Callable[[SpanBlock], object], *, nvtx: ModuleType | None = None):
        self._send, self.nvtx = send, nvtx
        self._span = np.zeros((SPANS_PER_BLOCK, SPAN_FIELDS), np.int64)
        self._words = self._span.data.cast("B").cast("q")
        self._at = 0  # words written
        self._since_ns = monotonic_ns()

    def add(self, number: int, start_ns: int, end_ns: int, nbytes: int = 0) -> None:
        """number: the name's index in SPAN_NAMES."""
        words, at = self._words, self._at
        words[at] = number
        words[at + 1] = start_ns
        words[at + 2] = end_ns - start_ns
        words[at + 3] = nbytes
        self._at = at + SPAN_FIELDS
        if self._at == _WORDS:
            self.flush(end_ns)

    def is_old(self, now_ns: int) -> bool:
        """Whether the buffer is due to be flushed, full or not."""
        return now_ns - self._since_ns >= FLUSH_AFTER_NS

    def flush(self, until_ns: int) -> None:
        """Send the buffer as complete up to `until_ns`."""
        self._send(SpanBlock(self._at // SPAN_FIELDS, self._since_ns, until_ns, self._span))
        self._at, self._since_ns = 0, until_ns


_recorder: Recorder | None = None


def activate(recorder: Recorder | None) -> None:
    """Make this the process's recorder, None for no recording. Call between two steps, while no span is open."""
    global _recorder
    _recorder = recorder


def active() -> Recorder | None:
    """This process's recorder."""
    return _recorder


class Span:
    """A named piece of work. A reusable, not reentrant, context manager."""

    __slots__ = ("_name", "_nbytes", "_number", "_start_ns")

    def __init__(self, name: str, *, nbytes: int = 0):
        """name: one of SPAN_NAMES. nbytes: bytes moved each time."""
        self._name, self._number, self._nbytes = name, SPAN_NAMES.index(name), nbytes
        self._start_ns = 0

    def __enter__(self) -> None:
        recorder = _recorder
        if recorder is not None:
            if recorder.nvtx is not None:
                recorder.nvtx.range_push(self._name)
            self._start_ns = monotonic_ns()

    def __exit__(self, *_: object) -> None:
        recorder = _recorder
        if recorder is not None:
            recorder.add(self._number, self._start_ns, monotonic_ns(), self._nbytes)
            if recorder.nvtx is not None:
                recorder.nvtx.range_pop()
