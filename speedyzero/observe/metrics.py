"""A run's metrics over time: `metrics.jsonl` for programs, TensorBoard events for people.

The owner of the run directory is the only writer; reports, tests and benchmarks read. One strict JSON object a line:

    {"step": 1200, "time_s": 34.5, "name": "loss/total", "value": 3.25}

`time_s` counts the seconds that the run was active and continues where an earlier writer of the same directory stopped.
JSON has no NaN or infinity: such a value is written as null with a "note" that names it, and read back unchanged.
"""

from __future__ import annotations

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

from speedyzero.system.atomic_file import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS_FILE = "metrics.jsonl"
MOST_HELD = 200_000  # lines, of about 100 bytes, while writes fail
_log = logging.getLogger("speedyzero.observe")
_NOTES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class MetricSeries:
    """One metric in the order it was written. N values."""

    steps: np.ndarray  # [N] int64
    values: np.ndarray  # [N] float64, NaN and infinities as they were
    times_s: np.ndarray  # [N] float64


class MetricsWriter:
    """Appends to a run directory's metrics. Lines and events are buffered for up to `flush_interval_s`.

    A full or failing disk does not end the run: up to `MOST_HELD` lines, the newest, are held and written once writes
    succeed again. TensorBoard events that cannot be written are lost.
    """

    def __init__(
        self,
        run_dir: str | Path,
        *,
        flush_interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = _log.warning,
    ):
        """say: called once when writes begin to fail, and once when they succeed again."""
        import torch.utils.tensorboard  # noqa: F401  # slow, so not amid the run

        self._run_dir, self._path, self._say = Path(run_dir), Path(run_dir) / METRICS_FILE, say
        self._is_refused = False
        self._clock, self._flush_interval_s = clock, flush_interval_s
        self._lines: list[str] = []
        self._scalars: list[tuple[str, float, int, float]] = []  # as `SummaryWriter.add_scalar` takes them
        self._start_s = self._clock() - _repair(self._path)
        self._flushed_s = self._clock()
        self._events: SummaryWriter | None = None

    def write(self, name: str, value: float, step: int) -> None:
        """Record one number. value: anything `float` takes (a tensor on a GPU here is a host synchronisation)."""
        value, step, now_s = float(value), int(step), self._clock()
        line = {"step": step, "time_s": round(now_s - self._start_s, 3), "name": name, "value": value}
        if not math.isfinite(value):
            line["value"], line["note"] = None, str(value)
        self._lines.append(json.dumps(line, allow_nan=False))
        self._scalars.append((name, value, step, time.time()))
        if now_s - self._flushed_s >= self._flush_interval_s:
            self.flush()

    def flush(self) -> None:
        """Write all buffered lines and events to the operating system."""
        self._flushed_s = self._clock()
        try:
            _append(self._path, self._lines)
        except OSError as error:
            if not self._is_refused:
                self._say(f"metrics cannot be written, training continues: {error}")
            self._is_refused = True
            del self._lines[:-MOST_HELD], self._scalars[:-MOST_HELD]
            return
        if self._is_refused:
            self._say(f"metrics can be written again; {len(self._lines)} waiting ones are written too")
            self._is_refused = False
        self._add_events()
        self._lines.clear()
        self._scalars.clear()

    def close(self) -> None:
        self.flush()
        if self._lines:
            self._say(f"{len(self._lines)} metrics were never written")
        if self._events is not None:
            with suppress(OSError):  # already reported
                self._events.close()

    def _add_events(self) -> None:
        """A failed writer does not recover: the next flush opens a new file."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._events = self._events or SummaryWriter(str(self._run_dir))
            for scalar in self._scalars:
                self._events.add_scalar(*scalar)
            self._events.flush()
        except OSError as error:
            _log.warning("TensorBoard's events cannot be written: %s", error)
            self._events = None


def read_metrics(run_dir: str | Path) -> dict[str, MetricSeries]:
    """All metrics of a run by name. A last line cut off by a crash is left out.

    Raises ValueError for a missing file and for any other invalid line, with its number.
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
    """Move the metrics of train steps after `step`, which a resumed run repeats, to another file. Returns their count.

    The learner's metrics at a step belong to the update that begins there, so those at `step` itself are moved, too.
    """
    path = Path(run_dir) / METRICS_FILE
    if not path.exists():
        return 0
    _repair(path)
    kept: list[bytes] = []
    later: list[bytes] = []
    for line in path.read_bytes().splitlines(keepends=True):
        (later if _is_later(json.loads(line), step) else kept).append(line)
    if later:
        with open(path.with_name(f"metrics_given_up_at_{step:09}.jsonl"), "ab") as file:
            file.writelines(later)
        write_atomically(path, b"".join(kept))
    return len(later)


def _append(path: Path, lines: Sequence[str]) -> None:
    """Append all of the lines, or, with an OSError, none: a partial line would corrupt the next one."""
    if not lines:
        return
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        content = "".join(f"{line}\n" for line in lines).encode()
        try:
            while content:  # a nearly full disk may write only part of it
                content = content[file.write(content) :]
        except OSError:
            os.truncate(path, size)
            raise


def _is_later(record: dict, step: int) -> bool:
    name = record["name"]
    is_of_next_update = name.startswith("learner/") and not name.startswith("learner/save_")
    return record["step"] > step or (record["step"] == step and is_of_next_update)


def _repair(path: Path) -> float:
    """Cut off an incomplete last line. Returns the `time_s` of the last complete line, 0 if there is none."""
    if not path.exists():
        return 0.0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    lines = content[:whole].splitlines()
    return float(json.loads(lines[-1])["time_s"]) if lines else 0.0
