import os
import signal
import threading
import time

import posix_ipc
import pytest

from speedyzero.shm import Doorbell, SegmentError, deadline_after, wait_until
from speedyzero.shm.doorbell import SLICE_S


def test_a_ring_wakes_and_is_heard_once(run):
    bell = Doorbell.create(run, "bell")
    other = Doorbell.attach(run, "bell")
    assert not bell.wait(0.0)
    other.notify()
    assert bell.wait(0.0) and not bell.wait(0.0)


def test_unheard_rings_do_not_pile_up(run):
    bell = Doorbell.create(run, "bell")
    for _ in range(1000):
        bell.notify()
    assert 1 <= sum(bell.wait(0.0) for _ in range(1000)) <= 20


def test_names(run):
    bell = Doorbell.create(run, "bell")
    with pytest.raises(SegmentError, match="exists already"):
        Doorbell.create(run, "bell")
    bell.unlink()
    bell.unlink()
    with pytest.raises(SegmentError, match="does not exist"):
        Doorbell.attach(run, "bell")


def test_a_wait_is_sliced(run):
    """However far the deadline is, a waiter looks for itself at least every 100 ms."""
    timeouts_s = []

    class Silence:
        def acquire(self, timeout_s):
            timeouts_s.append(timeout_s)
            raise posix_ipc.BusyError

    bell = Doorbell.create(run, "bell")
    bell._semaphore, real = Silence(), bell._semaphore
    looks = iter([False, False, False, True])
    assert wait_until(lambda: next(looks), bell, deadline=deadline_after(3600))
    assert len(timeouts_s) == 3 and max(timeouts_s) <= SLICE_S == 0.1
    bell._semaphore = real


def test_deadline_stop_and_truth_without_a_ring(run):
    bell = Doorbell.create(run, "bell")
    assert wait_until(lambda: True, bell, deadline=0.0), "what is true needs no time"
    assert not wait_until(lambda: False, bell, deadline=deadline_after(0.0))
    looks = iter([False, False, True])
    assert wait_until(lambda: next(looks), bell, deadline=deadline_after(60)), "a lost ring costs slices only"
    stops = iter([False, True])
    assert not wait_until(lambda: False, bell, deadline=deadline_after(60), stop=lambda: next(stops))


def test_blocked_time_is_told(run):
    bell = Doorbell.create(run, "bell")
    blocked_ns = []
    started = time.monotonic()
    assert not wait_until(lambda: False, bell, deadline=deadline_after(0.05), add_blocked_ns=blocked_ns.append)
    assert 0 < sum(blocked_ns) / 1e9 <= time.monotonic() - started


@pytest.mark.parametrize("timeout_s", [-1.0, float("inf"), float("nan")])
def test_no_wait_without_an_end(timeout_s):
    with pytest.raises(ValueError, match="finite"):
        deadline_after(timeout_s)


def test_a_handled_signal_does_not_end_the_wait(run):
    bell = Doorbell.create(run, "bell")
    handled = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.set())
    timer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        assert wait_until(handled.is_set, bell, deadline=deadline_after(60))
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_one_bell_for_several_rings_of_the_bell(run):
    bell = Doorbell.create(run, "bell")
    flags = [False, False]

    def ring(i):
        flags[i] = True
        Doorbell.attach(run, "bell").notify()

    for i in (0, 1):
        thread = threading.Thread(target=ring, args=(i,))
        thread.start()
        assert wait_until(lambda i=i: flags[i], bell, deadline=deadline_after(60))
        thread.join()
