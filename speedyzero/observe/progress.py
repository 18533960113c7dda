"""Progress display: two bars on a terminal, periodic plain lines anywhere else.

    env steps   45%|#####      | 45000/100000 118/s score 12.5
    train steps 37%|####       | 45000/120000 117/s ETA 12:34 limit reanalyzer-0

The ETA is computed from a recent window of the paced phase, in which play and learning advance together. The head start
plays without learning, many times faster, so it is excluded and no ETA is shown until learning has begun. The frozen
steps at the end, which only learn, are assumed to be as slow as paced ones, so the ETA errs on the late side.
"""

from __future__ import annotations

import math
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
class _Steps:
    """Totals of a run at a time, or the difference of two."""

    time_s: float
    env_steps: int
    train_steps: int

    def since(self, before: _Steps) -> _Steps:
        times_s = self.time_s - before.time_s
        return _Steps(times_s, self.env_steps - before.env_steps, self.train_steps - before.train_steps)

    def per_s(self) -> tuple[float, float]:
        """Env steps and train steps."""
        return (self.env_steps / self.time_s, self.train_steps / self.time_s) if self.time_s > 0 else (0.0, 0.0)


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
        """train_steps_total: frozen steps included."""
        self._totals = {"env steps": env_steps_total, "train steps": train_steps_total}
        self._stream, self._clock = Listener(stream if stream is not None else sys.stderr), clock
        self._start = self._latest = _Steps(clock(), 0, 0)
        self._window: deque[_Steps] = deque()
        self._learning_since_s: float | None = None
        self._shown: dict[str, object] = {}
        self._limit = ""
        self._drawn_s, self._line = -math.inf, self._start
        self._line_steps = max(1.0, _LINE_FRACTION * train_steps_total)
        self._closed = False
        look = {"bar_format": "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt} {detail}", "file": self._stream}
        self._bars = [
            _Bar(total=total, desc=f"{name:<11}", position=row, ncols=self._columns(), **look)
            for row, (name, total) in enumerate(self._totals.items())
            if self._stream.isatty()
        ]

    def update(self, env_steps: int, train_steps: int, *, limit: str = "", **shown: object) -> None:
        """Report the totals so far; cheap enough for every tick.

        limit: the current bottleneck. shown: further values to display. Both persist until changed.
        """
        self._shown.update(shown)
        self._limit = limit or self._limit
        self._latest = latest = _Steps(self._clock(), env_steps, train_steps)
        if latest.time_s - self._drawn_s < _REFRESH_S:
            return
        self._drawn_s = latest.time_s
        self._extend_window()
        since_line = latest.since(self._line)
        if self._bars:
            self._draw_bars()
        elif since_line.time_s >= _LINE_INTERVAL_S or since_line.train_steps >= self._line_steps:
            self._write_line()

    def note(self, line: str) -> None:
        """Print a permanent line, above the bars."""
        if self._bars and not self._closed:
            _Bar.write(line, file=self._stream)
        else:
            self._stream.write(line + "\n")

    def eta_s(self) -> float | None:
        """Seconds to the end of the run's play and learning, or None while it cannot be estimated."""
        env_rate, train_rate = self._rates_per_s()
        if self._learning_since_s is None or train_rate <= 0:
            return None
        env_s = (self._totals["env steps"] - self._latest.env_steps) / env_rate if env_rate > 0 else 0.0
        return max(env_s, (self._train_total - self._latest.train_steps) / train_rate, 0.0)

    def close(self) -> None:
        """Show the final state and leave it on the screen."""
        if self._closed:
            return
        self._closed = True
        if not self._bars:
            self._write_line()
            return
        self._draw_bars()
        for bar in self._bars:
            bar.close()

    @property
    def _train_total(self) -> int:
        return self._totals["train steps"]

    def _rates_per_s(self) -> tuple[float, float]:
        """Env and train steps over the recent window, which holds the head start only until learning begins."""
        return self._latest.since(self._window[0]).per_s() if self._window else (0.0, 0.0)

    def _extend_window(self) -> None:
        """Add the latest totals; drop samples that are too old or of the head start."""
        latest, window, window_s = self._latest, self._window, _WINDOW_S
        if self._learning_since_s is None and latest.train_steps > 0:
            self._learning_since_s = latest.time_s
            window.clear()
        window.append(latest)
        if self._learning_since_s is not None:
            window_s = max(_WINDOW_S, _WINDOW_SHARE * (latest.time_s - self._learning_since_s))
        while len(window) > 2 and window[1].time_s <= latest.time_s - window_s:
            window.popleft()

    def _details(self) -> tuple[str, str]:
        """The text after the env steps and after the train steps."""
        (env_rate, train_rate), eta_s = self._rates_per_s(), self.eta_s()
        shown = "".join(f"  {name} {_format(value)}" for name, value in self._shown.items())
        eta = "ETA ?" if eta_s is None else f"ETA {format_duration(eta_s)}"
        limit = f"  limit {self._limit}" if self._limit else ""
        return f"{env_rate:.3g}/s{shown}", f"{train_rate:.3g}/s  {eta}{limit}"

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
        latest, (env_detail, train_detail) = self._latest, self._details()
        self._stream.write(
            f"{format_duration(latest.time_s - self._start.time_s)}  "
            f"env steps {latest.env_steps}/{self._totals['env steps']} {env_detail}  "
            f"train steps {latest.train_steps}/{self._train_total} {train_detail}\n"
        )
        self._line = latest


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


def format_duration(duration_s: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _format(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
