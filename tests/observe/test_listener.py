"""Output that nobody reads any more is a hang-up, and stops nobody from putting things in order."""

import os
import signal
from collections.abc import Iterator

import pytest

from speedyzero.observe.listener import Listener
from speedyzero.observe.progress import Progress
from speedyzero.supervisor.interrupts import Interrupts


@pytest.fixture
def pipe() -> Iterator[tuple[int, object]]:
    """The descriptor to read from, and a stream to write to; both closed in the end."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream


def test_a_reader_that_goes_away_is_one_interruption_and_what_follows_is_dropped(pipe):
    reading, stream = pipe
    listener = Listener(stream)
    with Interrupts() as interrupts:
        listener.write("heard\n")
        assert os.read(reading, 100) == b"heard\n" and interrupts.count == 0
        os.close(reading)
        assert listener.write("not heard\n") == 10 and interrupts.count == 1
        listener.write("nor this\n")
        assert interrupts.count == 1 and not listener.isatty()
    stream.write("flushed at the end, into nothing")  # closing the stream would raise


def test_under_nohup_the_work_goes_on(pipe):
    reading, stream = pipe
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.close(reading)
        Listener(stream).write("not heard\n")
        assert interrupts.count == 0


def test_progress_that_nobody_sees_raises_nothing(pipe):
    reading, stream = pipe
    with Interrupts() as interrupts:
        progress = Progress(env_steps_total=10, train_steps_total=10, stream=stream)
        os.close(reading)
        progress.note("a line")
        progress.update(5, 5)
        progress.close()
        assert interrupts.count == 1
