"""The file `trace.json.gz`: one run's spans in the Trace Event Format, which Perfetto and chrome://tracing open.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format)

    M  names of processes and threads      X  a span: ts, dur in microseconds      C  counters: ring fill, steps so far

All times are CLOCK_MONOTONIC, counted from the beginning of the profile. What `python -m speedyzero profile` needs
besides the events is in `otherData`, which viewers show and do not interpret.
"""

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from speedyzero.topology.records import SPAN_NAMES

TRACE_FILE = "trace.json.gz"
_LEVEL = 3  # of compression


@dataclass(frozen=True)
class Track:
    """One role's spans, in its own process or in its turns of a shared one. Times in ns since the profile's begin."""

    name: str
    spans: np.ndarray = field(repr=False)  # [N, 4] int64 as in SpanBlock, by start, outer before inner
    covered: Sequence[tuple[int, int]]  # intervals in which the spans are complete
    dropped: int = 0  # spans that were lost
    busy_cpu_s: float = 0.0  # CPU time of its work, all threads
    wait_cpu_s: float = 0.0
    core_wait_s: float | None = None  # time its main thread was runnable without a core; None: not known


@dataclass(frozen=True)
class Trace:
    """A profile."""

    inline: bool  # one process, in which the tracks take turns
    end_ns: int  # the profile's length
    learning_ns: int  # when learning began; the end if it did not
    tracks: Sequence[Track]
    samples: Mapping[str, Sequence[tuple[int, float]]]  # time in ns and value, by name
    waits_on: Mapping[str, Mapping[str, Sequence[str]]]  # by track and wait: the tracks that may end it
    cores: int
    machine_cpu_s: float  # CPU time used by all programs of the machine
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_trace(trace: Trace, path: Path) -> None:
    """Write the file atomically."""
    aside = path.with_name(f".{path.name}.part")
    with gzip.open(aside, "wt", compresslevel=_LEVEL, encoding="utf-8") as file:
        _write(trace, file)
    os.replace(aside, path)


def read_trace(path: Path) -> Trace:
    """Raises ValueError, one line, if the file is not a trace written by `write_trace`."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            document = json.load(file)
        return _trace(document)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no trace of a run: {type(error).__name__}: {error}") from error


def put_aside(path: Path) -> None:
    """Rename an existing trace to a free `trace.N.json.gz`: no trace is overwritten."""
    if path.exists():
        number = 1
        while (aside := path.with_name(f"trace.{number}.json.gz")).exists():
            number += 1
        path.rename(aside)


def settled_spans(spans: np.ndarray, begin_ns: int) -> np.ndarray:
    """Spans [N, 4] as in `Track`: times since `begin_ns`, clipped to it, sorted by start, outer before inner."""
    start_ns, end_ns = spans[:, 1] - begin_ns, spans[:, 1] + spans[:, 2] - begin_ns
    start_ns = np.maximum(start_ns, 0)
    settled = np.stack([spans[:, 0], start_ns, end_ns - start_ns, spans[:, 3]], axis=1)[end_ns > 0]
    return settled[np.lexsort((-settled[:, 2], settled[:, 1]))]


def _write(trace: Trace, file: TextIO) -> None:
    file.write('{"displayTimeUnit": "ms",\n"otherData": ')
    json.dump(_other_data(trace), file)
    file.write(',\n"traceEvents": [\n')
    for index, event in enumerate(_events(trace)):
        file.write((",\n" if index else "") + json.dumps(event))
    file.write("\n]}\n")


def _events(trace: Trace) -> Iterator[dict[str, Any]]:
    for index, track in enumerate(trace.tracks):
        where = _place(trace, index)
        if not trace.inline or index == 0:
            name = "speedyzero" if trace.inline else track.name
            yield {"name": "process_name", "ph": "M", "ts": 0, **where, "args": {"name": name}}
            yield {"name": "process_sort_index", "ph": "M", "ts": 0, **where, "args": {"sort_index": index}}
        thread = track.name if trace.inline else "main"
        yield {"name": "thread_name", "ph": "M", "ts": 0, **where, "args": {"name": thread}}
        for number, start_ns, duration_ns, nbytes in track.spans.tolist():
            when = {"ts": start_ns / 1000, "dur": duration_ns / 1000}
            moved = {"args": {"bytes": nbytes}} if nbytes else {}
            yield {"name": SPAN_NAMES[number], "cat": "span", "ph": "X", **when, **where, **moved}
    counters = {**_place(trace, len(trace.tracks) - 1), "tid": 0}
    for name, samples in trace.samples.items():
        for time_ns, value in samples:
            yield {"name": name, "ph": "C", "ts": time_ns / 1000, **counters, "args": {"value": value}}


def _place(trace: Trace, index: int) -> dict[str, int]:
    """Process and thread numbers of a track, chosen by the trace: a replacement process keeps the numbers."""
    return {"pid": 1, "tid": index + 1} if trace.inline else {"pid": index + 1, "tid": 1}


_TRACK_FIELDS = ("name", "covered", "dropped", "busy_cpu_s", "wait_cpu_s", "core_wait_s")
_TRACE_FIELDS = ("inline", "end_ns", "learning_ns", "waits_on", "cores", "machine_cpu_s", "settings")


def _other_data(trace: Trace) -> dict[str, Any]:
    return {
        "program": "speedyzero",
        "tracks": [{name: getattr(track, name) for name in _TRACK_FIELDS} for track in trace.tracks],
        **{name: getattr(trace, name) for name in _TRACE_FIELDS},
    }


def _trace(document: dict[str, Any]) -> Trace:
    other = document["otherData"]
    names = {name: number for number, name in enumerate(SPAN_NAMES)}
    spans: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    samples: dict[str, list[tuple[int, float]]] = {}
    for event in document["traceEvents"]:
        if event["ph"] == "X":
            moved = event.get("args", {}).get("bytes", 0)
            span = (names[event["name"]], _ns(event["ts"]), _ns(event["dur"]), moved)
            spans.setdefault((event["pid"], event["tid"]), []).append(span)
        elif event["ph"] == "C":
            samples.setdefault(event["name"], []).append((_ns(event["ts"]), event["args"]["value"]))
    tracks: list[Track] = []
    trace = Trace(**{name: other[name] for name in _TRACE_FIELDS}, tracks=tracks, samples=samples)
    for index, track in enumerate(other["tracks"]):
        place = _place(trace, index)
        table = np.array(spans.get((place["pid"], place["tid"]), []), np.int64).reshape(-1, 4)
        covered = [(since, until) for since, until in track["covered"]]
        tracks.append(Track(**{**track, "covered": covered}, spans=table))
    return trace


def _ns(time_us: float) -> int:
    return round(time_us * 1000)
