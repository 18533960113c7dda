"""Progress display: two bars on a terminal, periodic plain lines anywhere else.

    env steps   45%|#####      | 45000/100000 118/s score 12.5
    train steps 37%|####       | 45000/120000 117/s ETA 12:34 limit reanalyzer-0

The ETA is computed from a recent window of the paced phase, in which play and learning advance together. The head start
plays without learning, many times faster, so it is excluded and no ETA is shown until learning has begun. The frozen
steps at the end, which only learn, are assumed to be as slow as paced ones, so the ETA errs on the late side.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from tqdm import tqdm

from speedyzero.observe.listener import Listener

_REFRESH_S = 0.1
_LINE_INTERVAL_S = 10.0
_LINE_FRACTION = 0.05
_WINDOW_S = 60.0
_WINDOW_SHARE = 0.25  # of the time since learning began, which averages out the pauses of evaluations


class _Bar(tqdm):
    """A tqdm that is drawn only on `refresh`: no monitor thread, and no lock that leaves a semaphore behind."""

    monitor_interval = 0
    detail = ""

    @property
    def format_dict(self) -> dict:
        return {**super().format_dict, "detail": self.detail}


_Bar.set_lock(threading.RLock())


@dataclass(frozen=True)
class _Sample:
    time_s: float
    env_steps: int
    train_steps: int


class Progress:
    """A run's progress: bars when `stream` is a terminal, otherwise a line each 10 s or 5 % of train steps."""

    def __init__(
        self,
        *,
        env_steps_total: int,
        train_steps_total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._env_steps_total = env_steps_total
        self._train_steps_total = train_steps_total  # frozen steps included
        self._stream = Listener(stream if stream is not None else sys.stderr)
        self._clock = clock
        self._start_s = clock()
        self._samples: deque[_Sample] = deque()
        self._latest = _Sample(self._start_s, 0, 0)
        self._learning_since_s: float | None = None
        self._shown: dict[str, object] = {}
        self._limit = ""
        self._drawn_s = -float("inf")
        self._line_s = self._start_s
        self._line_fraction = 0.0
        self._closed = False
        self._bars: list[_Bar] = []
        if self._stream.isatty():
            totals = {"env steps": env_steps_total, "train steps": train_steps_total}
            self._bars = [
                _Bar(
                    total=total,
                    desc=f"{name:<11}",
                    position=position,
                    file=self._stream,
                    ncols=self._columns(),
                    bar_format="{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt} {detail}",
                )
                for position, (name, total) in enumerate(totals.items())
            ]

    def update(self, env_steps: int, train_steps: int, *, limit: str = "", **shown: object) -> None:
        """Report the totals so far; cheap enough for every tick.

        limit: the current bottleneck. shown: further values to display. Both persist until changed.
        """
        self._shown.update(shown)
        self._limit = limit or self._limit
        now_s = self._clock()
        self._latest = _Sample(now_s, env_steps, train_steps)
        if now_s - self._drawn_s < _REFRESH_S:
            return
        self._sample()
        if self._bars:
            self._draw_bars()
        elif now_s - self._line_s >= _LINE_INTERVAL_S or self._fraction() - self._line_fraction >= _LINE_FRACTION:
            self._write_line()
        self._drawn_s = now_s

    def note(self, line: str) -> None:
        """Print a permanent line, above the bars."""
        if self._bars and not self._closed:
            _Bar.write(line, file=self._stream)
        else:
            self._stream.write(line + "\n")

    def eta_s(self) -> float | None:
        """Seconds to the end of the run's play and learning, or None while it cannot be estimated."""
        latest = self._latest
        remaining = (self._env_steps_total - latest.env_steps, self._train_steps_total - latest.train_steps)
        rates = self.rates_per_s()
        if self._learning_since_s is None or rates.train_steps <= 0:
            return None
        env_s = remaining[0] / rates.env_steps if rates.env_steps > 0 else 0.0
        return max(env_s, remaining[1] / rates.train_steps, 0.0)

    def rates_per_s(self) -> Rates:
        """Steps per second over the recent window, which holds the head start only until learning begins."""
        if not self._samples:
            return Rates(0.0, 0.0)
        oldest, latest = self._samples[0], self._latest
        span_s = latest.time_s - oldest.time_s
        if span_s <= 0:
            return Rates(0.0, 0.0)
        env_steps, train_steps = latest.env_steps - oldest.env_steps, latest.train_steps - oldest.train_steps
        return Rates(env_steps=env_steps / span_s, train_steps=train_steps / span_s)

    def close(self) -> None:
        """Show the final state and leave it on the screen."""
        if self._closed:
            return
        if self._bars:
            self._draw_bars()
            for bar in self._bars:
                bar.close()
        else:
            self._write_line()
        self._closed = True

    def _fraction(self) -> float:
        return self._latest.train_steps / self._train_steps_total if self._train_steps_total else 1.0

    def _sample(self) -> None:
        """Add the latest totals to the window; drop samples that are too old or of the head start."""
        latest = self._latest
        if self._learning_since_s is None and latest.train_steps > 0:
            self._learning_since_s = latest.time_s
            self._samples.clear()
        self._samples.append(latest)
        window_s = _WINDOW_S
        if self._learning_since_s is not None:
            window_s = max(_WINDOW_S, _WINDOW_SHARE * (latest.time_s - self._learning_since_s))
        while len(self._samples) > 2 and self._samples[1].time_s <= latest.time_s - window_s:
            self._samples.popleft()

    def _details(self) -> tuple[str, str]:
        """The text after the env steps and after the train steps."""
        rates, eta_s = self.rates_per_s(), self.eta_s()
        shown = "".join(f"  {name} {_format(value)}" for name, value in self._shown.items())
        eta = "ETA ?" if eta_s is None else f"ETA {format_duration(eta_s)}"
        limit = f"  limit {self._limit}" if self._limit else ""
        return f"{rates.env_steps:.3g}/s{shown}", f"{rates.train_steps:.3g}/s  {eta}{limit}"

    def _draw_bars(self) -> None:
        counts = (self._latest.env_steps, self._latest.train_steps)
        for bar, count, detail in zip(self._bars, counts, self._details(), strict=True):
            bar.n, bar.detail, bar.ncols = count, detail, self._columns()
            bar.refresh()

    def _columns(self) -> int:
        """The terminal's current width, less one: a full row would wrap on some terminals."""
        try:
            return os.get_terminal_size(self._stream.fileno()).columns - 1
        except (OSError, ValueError):  # no descriptor, or not a real terminal
            return shutil.get_terminal_size().columns - 1

    def _write_line(self) -> None:
        env_detail, train_detail = self._details()
        self._stream.write(
            f"{format_duration(self._latest.time_s - self._start_s)}  "
            f"env steps {self._latest.env_steps}/{self._env_steps_total} {env_detail}  "
            f"train steps {self._latest.train_steps}/{self._train_steps_total} {train_detail}\n"
        )
        self._line_s, self._line_fraction = self._latest.time_s, self._fraction()


class GamesProgress:
    """An evaluation's progress: a bar when `stream` is a terminal, otherwise a line each 10 s."""

    def __init__(self, what: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        """what: the label, such as "evaluation"."""
        self._what, self._clock = what, clock
        self._stream = Listener(stream if stream is not None else sys.stderr)
        self._shown_s = clock()
        self._bar: _Bar | None = None

    def update(self, finished: int, total: int, *, steps: int) -> None:
        """total: games to be played. steps: of all games. Cheap enough for every tick."""
        now_s = self._clock()
        interval_s = _REFRESH_S if self._stream.isatty() else _LINE_INTERVAL_S
        if now_s - self._shown_s < interval_s and finished < total:
            return
        self._shown_s = now_s
        if not self._stream.isatty():
            self._stream.write(f"{self._what}: {finished}/{total} games, {steps} steps\n")
            return
        if self._bar is None:
            shape = "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt} games {detail}"
            self._bar = _Bar(total=total, desc=f"{self._what:<11}", file=self._stream, leave=False, bar_format=shape)
        self._bar.n, self._bar.detail = finished, f"{steps} steps"
        self._bar.refresh()

    def __enter__(self) -> GamesProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


@dataclass(frozen=True)
class Rates:
    """Steps per second."""

    env_steps: float
    train_steps: float


def format_duration(duration_s: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _format(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
