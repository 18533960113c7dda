"""Writes a profile's trace into the run's directory, once, and reports it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from speedyzero.config import Config
from speedyzero.config.documents import config_document
from speedyzero.tracing.profile_window import ProfileWindow
from speedyzero.tracing.span_store import SpanStore
from speedyzero.tracing.trace import TRACE_FILE, RingUse, Trace, Track, put_aside, write_trace

_log = logging.getLogger("speedyzero.supervisor")


class TraceKeeper:
    """The trace file of one run."""

    def __init__(self, config: Config, run_dir: Path, *, note: Callable[[str], None]):
        self._config, self._path, self._note = config, run_dir / TRACE_FILE, note
        self.is_written = False

    def write(
        self,
        window: ProfileWindow,
        store: SpanStore,
        *,
        inline: bool,
        tracks: Sequence[Track],
        rings: Sequence[RingUse],
        waits_on: Mapping[str, Mapping[str, Sequence[str]]],
        machine_cpu_s: float,
    ) -> None:
        """Call after the window has ended. An earlier trace is renamed; a failed write is reported."""
        if self.is_written:
            return
        self.is_written = True
        if not window.begin_ns:
            self._note("nothing was profiled: the run ended before training began")
            return
        begin_ns, length_ns = window.begin_ns, window.end_ns - window.begin_ns
        trace = Trace(
            inline=inline,
            end_ns=length_ns,
            learning_ns=min(max(0, window.learning_ns - begin_ns), length_ns) if window.learning_ns else length_ns,
            tracks=tracks,
            rings=rings,
            samples={
                name: [(time_ns - begin_ns, value) for time_ns, value in samples]
                for name, samples in store.samples().items()
            },
            waits_on=waits_on,
            cores=len(os.sched_getaffinity(0)),
            machine_cpu_s=machine_cpu_s,
            settings=config_document(self._config),
        )
        try:
            put_aside(self._path)
            write_trace(trace, self._path)
        except OSError as error:
            _log.warning("%s", error)
            self._note(f"the profile could not be written, the run continues: {error}")
            return
        self._note(self._summary(trace, store))

    def _summary(self, trace: Trace, store: SpanStore) -> str:
        length = f"profile of {trace.end_ns / 1e9:.1f} s"
        bounded = f", the most that a trace holds ({store.kept} spans and samples)" if store.full else ""
        dropped = sum(track.dropped for track in trace.tracks)
        lost = f", {dropped} spans were lost" if dropped else ""
        return f"{length}{bounded}{lost}: {self._path}; read it with: python -m speedyzero profile {self._path.parent}"
