"""Real processes killed with SIGKILL at every point of a ring or of weight slots: the other side continues, no record
is torn, lost or handed out twice. Contract rows 1, 2 and 4. A notification that never comes: test_doorbell.py."""

import time

import numpy as np
import pytest

from speedyzero.shm import WeightSlots
from tests.faults.ring_child import WAIT_S, Child, Setup, pattern, version_words, wait_for
from tests.faults.ring_contract import reached, share
from tests.faults.ring_points import CONSUMER_POINTS, PRODUCER_POINTS


@pytest.fixture
def setup(run):
    return Setup(run, body_words=64, slots=4, weight_words=64)


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


@pytest.mark.contract(1, 2, 4)
def test_a_consumer_is_not_blocked_by_a_producer_that_dies_at_any_point(setup):
    kills, ring = share(50), setup.create_ring()
    ring.payload[512:] = 0xA5
    reader, bell, read = ring.consumer(), setup.bell("items"), 0

    def take(wait_s):
        nonlocal read
        record = wait_for(reader.get, bell, wait_s)
        if record is None:
            return False
        assert record.number == read, "sequence numbers must have no gap and no repetition"
        assert np.array_equal(record.body, pattern(64, read, record.epoch)), "torn"
        read += 1
        return True

    worst_s = longest_wait_s(setup, take, of="producer", kills=kills, seed=1)
    while take(0.0):
        pass
    stats = ring.stats()
    assert stats.produced == stats.consumed == read and stats.unaccounted == 0
    assert not any(stats.dropped.values()), "not even a bad record may have been published"
    figure = f"{kills} kills at each of {len(PRODUCER_POINTS)} points of a producer: 0 bad, no gap in {read} records"
    for row in (1, 2):
        reached(row, figure, counts={"kills of producers": kills * len(PRODUCER_POINTS)})
    reached(4, counts={"kills at each point of a producer": kills}, worst_s=worst_s)


@pytest.mark.contract(2, 4)
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

    worst_s = longest_wait_s(setup, take, of="consumer", kills=kills, seed=2)  # which read in order, each record once
    successor = ring.consumer()
    while (record := successor.get()) is not None:
        assert record.number == successor.consumed - 1, "the last consumer must find all the rest in order"
    stats = ring.stats()
    assert stats.produced == stats.consumed == writer.published and not any(stats.dropped.values())
    figure = f"{kills} kills at each of {len(CONSUMER_POINTS)} points of a consumer: 0 lost, 0 freed twice"
    reached(2, figure, counts={"kills of consumers": kills * len(CONSUMER_POINTS)})
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
