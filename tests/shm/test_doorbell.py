import os
import signal
import threading

import posix_ipc
import pytest

from speedyzero.shm import Doorbell, SegmentError
from speedyzero.shm.doorbell import SLICE_S


def test_a_notification_wakes_once(run):
    bell = Doorbell.create(run, "bell")
    other = Doorbell.attach(run, "bell")
    assert not bell.wait(0.0)
    other.notify()
    assert bell.wait(0.0) and not bell.wait(0.0)


def test_pending_notifications_do_not_pile_up(run):
    bell = Doorbell.create(run, "bell")
    for _ in range(1000):
        bell.notify()
    assert 1 <= sum(bell.wait(0.0) for _ in range(1000)) <= 20


def test_names(run):
    Doorbell.create(run, "bell")
    with pytest.raises(SegmentError, match="already exists"):
        Doorbell.create(run, "bell")
    with pytest.raises(SegmentError, match="No semaphore exists"):
        Doorbell.attach(run, "other")


def test_a_wait_is_sliced(run):
    """Whatever the timeout, a waiter returns at least every 100 ms."""
    timeouts_s = []

    class Silence:
        def acquire(self, timeout_s):
            timeouts_s.append(timeout_s)
            raise posix_ipc.BusyError

    bell = Doorbell(Silence())
    assert not bell.wait(3600) and not bell.wait(0.01)
    assert timeouts_s == [SLICE_S, 0.01] and SLICE_S == 0.1


def test_a_handled_signal_ends_a_wait_early_without_an_exception(run):
    bell = Doorbell.create(run, "bell")
    handled = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    while not handled.is_set():
        assert not bell.wait(60)
    timer.join()
