"""Whoever dies at whatever point of a ring or of weight slots, the other side goes on. Contract row 4."""

import threading
import time

import numpy as np
import pytest

from speedyzero.shm import WeightSlots
from speedyzero.shm.ring import TAIL
from tests.faults.ring_child import WAIT_S, Child, Setup, pattern, until, version_words, wait_for
from tests.faults.ring_contract import reached, share


@pytest.fixture
def setup(shm_run):
    return Setup(shm_run, body_words=64, slots=4, weight_words=64)


def longest_wait_s(setup, take, *, of, kills, seed):
    """Victims die at every point while `take(wait_s)` is called again and again; the longest that it had to wait.

    Every fourth time nobody asks for a while, so that the victims have to wait themselves.
    """
    child, longest_s, taken = Child("victims", setup, module="ring_points", of=of, kills=kills, seed=seed), 0.0, 0
    try:
        child.go()
        asked = time.monotonic()
        while child.running:
            came = take(0.02)
            waited_s = time.monotonic() - asked
            assert waited_s < WAIT_S, "blocked"
            if came:
                taken += 1
                if taken > setup.slots + 1:  # the first ones need nobody, the next waits for the first victim's start
                    longest_s = max(longest_s, waited_s)
                if taken % 4 == 0:
                    time.sleep(0.002)
                asked = time.monotonic()
        assert child.wait() == 0, "every victim must die where it was to die"
    finally:
        child.close()
    assert taken > kills
    return longest_s


@pytest.mark.contract(4)
def test_a_consumer_is_not_blocked_by_a_producer_that_dies_at_any_point(setup):
    kills, ring = share(50), setup.create_ring()
    reader, bell, read = ring.consumer(), setup.bell("items"), 0

    def take(wait_s):
        nonlocal read
        record = wait_for(reader.get, bell, wait_s)
        if record is None:
            return False
        assert record.number == read and np.array_equal(record.body, pattern(64, read, record.epoch))
        read += 1
        return True

    worst_s = longest_wait_s(setup, take, of="producer", kills=kills, seed=1)
    stats = ring.stats()
    assert stats.consumed == read and stats.unaccounted == 0 and not any(stats.dropped.values())
    reached(4, counts={"kills at each point of a producer": kills}, worst_s=worst_s)


@pytest.mark.contract(4)
def test_a_record_whose_producer_died_before_it_rang_is_found_without_a_successor(setup):
    kills, ring = share(50), setup.create_ring()
    reader, bell, waits_s, over = ring.consumer(), setup.bell("items"), [], threading.Event()

    def read_on():
        while not over.is_set():
            asked = time.monotonic()
            while reader.get() is None and not over.is_set():
                bell.wait(WAIT_S)
            waits_s.append(time.monotonic() - asked)

    survivor = threading.Thread(target=read_on)
    child = Child(
        "victims", setup, module="ring_points", of="producer", kills=kills, seed=4, only="bell", when_told=True
    )
    try:
        child.go()
        survivor.start()
        for _ in range(kills):
            child.go()
            assert child.line() == "bell"
            until(lambda: ring.words[TAIL] == ring.stats().produced)
        assert child.wait() == 0
    finally:
        over.set()
        survivor.join()
        child.close()
    worst_s = max(waits_s[1:-1])  # the first is for the first producer to start, the last for the end of the test
    assert worst_s < WAIT_S / 2, "blocked"
    reached(4, f"{kills} producers died between commit and notification: found within {worst_s:.2f} s", worst_s=worst_s)


@pytest.mark.contract(4)
def test_a_producer_is_not_blocked_by_a_consumer_that_dies_at_any_point(setup):
    kills, ring = share(50), setup.create_ring()
    writer, bell = ring.producer(), setup.bell("space")

    def take(wait_s):
        record = wait_for(writer.begin, bell, wait_s)
        if record is None:
            return False
        record.body[:] = pattern(64, writer.published, writer.epoch)
        record.number[...], record.epoch[...] = writer.published, writer.epoch
        writer.commit()
        return True

    worst_s = longest_wait_s(setup, take, of="consumer", kills=kills, seed=2)
    stats = ring.stats()
    assert stats.produced == writer.published and stats.unaccounted == 0 and not any(stats.dropped.values())
    reached(4, counts={"of a consumer": kills}, worst_s=worst_s)


@pytest.mark.contract(4)
def test_a_reader_of_weights_is_not_blocked_by_a_writer_that_dies_at_any_point(setup):
    kills, slots = share(50), WeightSlots.create(setup.run, setup.weights)
    reader, newest = slots.reader(), 0

    def take(wait_s):
        nonlocal newest
        publication = reader.read()
        if publication is None:
            time.sleep(wait_s / 10)
            return False
        assert publication.version > newest and reader.corrupt == 0
        assert np.array_equal(publication.data.view(np.uint64), version_words(64, publication.version))
        newest = publication.version
        return True

    worst_s = longest_wait_s(setup, take, of="weights_writer", kills=kills, seed=3)
    reached(4, counts={"of a writer of weights": kills}, worst_s=worst_s)
