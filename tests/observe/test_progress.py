"""Progress on a fake clock and a fake stream: an honest ETA, bars on a terminal, few lines elsewhere."""

import io
import re

import pytest

from speedyzero.observe.progress import GamesProgress, Progress, format_duration
from tests.clock import Clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def play(progress, clock, *, until_env_steps, env_per_s, train_per_env_step=0.0, start=(0, 0), tick_s=1.0, **shown):
    """Advance at a constant rate; where it ended."""
    env_steps, train_steps = start
    while env_steps < until_env_steps:
        clock.now_s += tick_s
        env_steps += env_per_s * tick_s
        train_steps += env_per_s * tick_s * train_per_env_step
        progress.update(int(env_steps), int(train_steps), **shown)
    return int(env_steps), int(train_steps)


def test_the_head_start_is_not_extrapolated(clock):
    progress = Progress(env_steps_total=10_000, train_steps_total=8_000, stream=io.StringIO(), clock=clock)
    at = play(progress, clock, until_env_steps=2_000, env_per_s=1000)
    assert progress.eta_s() is None
    play(progress, clock, until_env_steps=2_400, env_per_s=10, train_per_env_step=1, start=at)
    # 10 a second from here on: 7,600 env steps and as many train steps are left.
    assert progress.eta_s() == pytest.approx(760, rel=0.02)


def test_the_eta_counts_the_frozen_train_steps(clock):
    progress = Progress(env_steps_total=1_000, train_steps_total=2_000, stream=io.StringIO(), clock=clock)
    play(progress, clock, until_env_steps=500, env_per_s=10, train_per_env_step=1)
    assert progress.eta_s() == pytest.approx(1_500 / 10, rel=0.02)


def test_the_eta_follows_a_change_of_speed(clock):
    progress = Progress(env_steps_total=100_000, train_steps_total=100_000, stream=io.StringIO(), clock=clock)
    at = play(progress, clock, until_env_steps=5_000, env_per_s=100, train_per_env_step=1)
    at = play(progress, clock, until_env_steps=5_700, env_per_s=10, train_per_env_step=1, start=at)
    assert progress.eta_s() == pytest.approx((100_000 - at[1]) / 10, rel=0.02)


def test_a_pause_is_spread_over_the_window(clock):
    progress = Progress(env_steps_total=100_000, train_steps_total=100_000, stream=io.StringIO(), clock=clock)
    at = play(progress, clock, until_env_steps=40_000, env_per_s=10, train_per_env_step=1)
    clock.now_s += 100  # an evaluation
    at = play(progress, clock, until_env_steps=at[0] + 10, env_per_s=10, train_per_env_step=1, start=at)
    # The window is a quarter of some 4,100 s, of which 100 were the pause.
    assert progress.eta_s() == pytest.approx((100_000 - at[1]) / (10 * 0.9), rel=0.03)


def test_plain_lines_are_few_and_complete(clock):
    stream = io.StringIO()
    progress = Progress(env_steps_total=1_000, train_steps_total=1_000, stream=stream, clock=clock)
    play(progress, clock, until_env_steps=1_000, env_per_s=2, train_per_env_step=1, tick_s=0.5, score=12.5)
    progress.close()
    progress.close()
    lines = stream.getvalue().splitlines()
    progress.note("hello")
    assert stream.getvalue().endswith("\nhello\n")
    assert 40 <= len(lines) <= 55  # 500 s, a line each 10 s
    assert "\r" not in stream.getvalue()
    half_way = next(line for line in lines if "train steps 500/1000" in line)
    assert "env steps 500/1000 2/s  score 12.5" in half_way
    assert "ETA 4:10" in half_way
    assert "env steps 1000/1000" in lines[-1]


def test_a_fast_run_writes_a_line_each_5_percent(clock):
    stream = io.StringIO()
    progress = Progress(env_steps_total=1_000, train_steps_total=1_000, stream=stream, clock=clock)
    play(progress, clock, until_env_steps=1_000, env_per_s=200, train_per_env_step=1, tick_s=0.1)
    progress.close()
    assert 17 <= len(stream.getvalue().splitlines()) <= 22


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_bars_fit_the_terminal(clock, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", "24")
    stream = Terminal()
    progress = Progress(env_steps_total=1_000, train_steps_total=1_200, stream=stream, clock=clock)
    at = play(progress, clock, until_env_steps=600, env_per_s=10, train_per_env_step=1, score=-20.7)
    progress.note("evaluated: 3.0")
    play(progress, clock, until_env_steps=1_000, env_per_s=10, train_per_env_step=1, start=at)
    progress.close()
    shown = re.split(r"[\r\n]|\x1b\[A", stream.getvalue())
    assert max(map(len, shown)) <= columns
    assert "evaluated: 3.0" in shown
    rows_used = 1 + max(stream.getvalue().split("evaluated")[0].rsplit("\r", 2)[-2:], key=len).count("\n")
    assert rows_used <= 2
    if columns >= 80:
        assert any("env steps" in line and "score -20.7" in line for line in shown)
        assert any("train steps" in line and "600/1200" in line and "ETA 1:00" in line for line in shown)


@pytest.mark.parametrize(
    ("duration_s", "text"), [(0, "0:00"), (59.6, "1:00"), (754, "12:34"), (3600, "1:00:00"), (86399, "23:59:59")]
)
def test_format_duration(duration_s, text):
    assert format_duration(duration_s) == text


def test_an_evaluation_tells_of_its_games(clock):
    for stream, lines in ((io.StringIO(), 3), (Terminal(), 0)):
        with GamesProgress("evaluation", stream=stream, clock=clock) as progress:
            for second in range(25):
                clock.now_s += 1.0
                progress.update(second // 10, 3, steps=40 * second)
            progress.update(3, 3, steps=1000)
        text = stream.getvalue()
        assert text.count("\n") == lines and "3/3 games" in text and "1000 steps" in text
