"""A run's numbers over time: `metrics.jsonl` for programs, TensorBoard events for eyes.

Whoever owns the run directory writes (one writer); reports, tests and benchmarks read. One strict JSON object a line:

    {"step": 1200, "time_s": 34.5, "name": "loss/total", "value": 3.25}

`time_s` counts the seconds that the run was at work and goes on where an earlier writer of the same directory stopped.
JSON has no NaN and no infinity: such a value is written as null beside a "note" that names it, and read back as it was.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

METRICS_FILE = "metrics.jsonl"
MOST_HELD = 200_000  # lines, of about 100 bytes, while the disk takes none
_log = logging.getLogger("speedyzero.observe")
_NOTES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class MetricSeries:
    """One metric in the order it was written. N values."""

    steps: np.ndarray  # [N] int64
    values: np.ndarray  # [N] float64, NaN and infinities as they were
    times_s: np.ndarray  # [N] float64


@dataclass(frozen=True)
class _Scalar:
    """One number on its way to TensorBoard."""

    step: int
    name: str
    value: float
    time_s: float  # since 1970


class MetricsWriter:
    """Appends to a run directory's metrics. Lines and events are held back up to `flush_interval_s`.

    A full or failing disk ends no run: lines are held, the oldest of more than `MOST_HELD` given up, and written once
    the disk takes them. TensorBoard's events are lost where the disk takes the lines and not them.
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        flush_interval_s: float = 5.0,
        clock: Callable[[], float] | None = None,
        say: Callable[[str], None] = _log.warning,
    ):
        """say: told, once each, when the disk takes no more and when it does again."""
        self._run_dir, self._path, self._say = Path(run_dir), Path(run_dir) / METRICS_FILE, say
        self._is_refused = False
        self._clock = clock or time.monotonic
        self._flush_interval_s = flush_interval_s
        self._lines: list[str] = []
        self._scalars: list[_Scalar] = []
        self._start_s = self._clock() - _repair(self._path)
        self._flushed_s = self._clock()
        self._events: EventFileWriter | None = None
        self._open_events()

    def write(self, name: str, value: float, step: int) -> None:
        """Record one number. value: anything `float` takes (a tensor on a GPU here is a host synchronisation)."""
        value, step, now_s = float(value), int(step), self._clock()
        line = {"step": step, "time_s": round(now_s - self._start_s, 3), "name": name, "value": value}
        if not math.isfinite(value):
            line["value"], line["note"] = None, str(value)
        self._lines.append(json.dumps(line, allow_nan=False))
        self._scalars.append(_Scalar(step, name, value, time.time()))
        if now_s - self._flushed_s >= self._flush_interval_s:
            self.flush()

    def flush(self) -> None:
        """Hand everything written so far to the operating system, as far as it takes it."""
        self._flushed_s = self._clock()
        try:
            _append(self._path, self._lines)
        except OSError as error:
            if not self._is_refused:
                self._say(f"metrics cannot be written, training goes on: {error}")
            self._is_refused = True
            del self._lines[:-MOST_HELD], self._scalars[:-MOST_HELD]
            return
        if self._is_refused:
            self._say(f"metrics are written again, {len(self._lines)} that were held too")
            self._is_refused = False
        self._add_events()
        self._lines.clear()
        self._scalars.clear()

    def close(self) -> None:
        self.flush()
        if self._lines:
            self._say(f"{len(self._lines)} metrics were never written")
        if self._events is not None:
            with suppress(OSError):  # said where it happened
                self._events.close()

    def _open_events(self) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # costs an import only where used

        try:
            self._events = EventFileWriter(str(self._run_dir))
        except OSError as error:
            self._events_lost(error)

    def _add_events(self) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        if self._events is None:
            self._open_events()
        if self._events is None:
            return
        try:
            for step, group in itertools.groupby(self._scalars, key=lambda scalar: scalar.step):  # an event is dear
                scalars = list(group)
                values = [Summary.Value(tag=scalar.name, simple_value=scalar.value) for scalar in scalars]
                self._events.add_event(Event(wall_time=scalars[0].time_s, step=step, summary=Summary(value=values)))
            self._events.flush()
        except OSError as error:
            self._events_lost(error)

    def _events_lost(self, error: OSError) -> None:
        """A writer that failed once fails for ever: the next flush begins another file."""
        _log.warning("TensorBoard's events cannot be written: %s", error)
        self._events = None


def read_metrics(run_dir: str | Path) -> dict[str, MetricSeries]:
    """All metrics of a run by name. A last line cut off by a crash is left out.

    Raises ValueError for a missing file and, with its number, for any other line that is no metric.
    """
    path = Path(run_dir) / METRICS_FILE
    if not path.is_file():
        raise ValueError(f"{run_dir} has no {METRICS_FILE}: not the directory of a run")
    rows: dict[str, list[tuple[int, float, float]]] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            value = entry["value"] if entry["value"] is not None else _NOTES[entry["note"]]
            rows.setdefault(entry["name"], []).append((entry["step"], value, entry["time_s"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: line {number} is not a metric: {line[:80]!r}") from error
    return {
        name: MetricSeries(
            steps=np.array([row[0] for row in series], np.int64),
            values=np.array([row[1] for row in series], np.float64),
            times_s=np.array([row[2] for row in series], np.float64),
        )
        for name, series in rows.items()
    }


def put_aside_after(run_dir: str | Path, step: int) -> int:
    """Move the metrics of later train steps to another file: a resumed run comes to those anew. How many there were.

    What the learner says at a step is of the update that begins there, so at `step` itself it is of a later one, too.
    """
    path = Path(run_dir) / METRICS_FILE
    if not path.exists():
        return 0
    _repair(path)
    lines = path.read_bytes().splitlines(keepends=True)
    is_later = [_is_later(json.loads(line), step) for line in lines]
    later = [line for line, gone in zip(lines, is_later, strict=True) if gone]
    if later:
        with open(path.with_name(f"metrics_given_up_at_{step:09}.jsonl"), "ab") as file:
            file.writelines(later)
        aside = path.with_name(f".{METRICS_FILE}.part")
        aside.write_bytes(b"".join(line for line, gone in zip(lines, is_later, strict=True) if not gone))
        os.replace(aside, path)
    return len(later)


def _append(path: Path, lines: Sequence[str]) -> None:
    """All of the lines, or, with an OSError, none: half a line would spoil what is appended to it later."""
    if not lines:
        return
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            while content:  # a disk that is nearly full takes a part
                content = content[file.write(content) :]
        except OSError:
            os.truncate(path, size)
            raise


def _is_later(record: dict, step: int) -> bool:
    name = record["name"]
    is_of_next_update = name.startswith("learner/") and not name.startswith("learner/save_")
    return record["step"] > step or (record["step"] == step and is_of_next_update)


def _repair(path: Path) -> float:
    """Cut off a line that a crash left unfinished; the time in seconds at which the last whole line was written."""
    if not path.exists():
        return 0.0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    lines = content[:whole].splitlines()
    return float(json.loads(lines[-1])["time_s"]) if lines else 0.0
