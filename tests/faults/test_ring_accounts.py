"""Every record of a ring at full speed is accounted for. Contract row 20."""

import random
import time

import numpy as np
import pytest

from speedyzero.shm import Board
from speedyzero.shm.ring import TAIL
from tests.faults.ring_child import Child, Setup, pattern, wait_for
from tests.faults.ring_contract import reached, share


@pytest.mark.contract(20)
def test_every_record_is_accounted_for(run):
    """Short records at full speed; some corrupted by the test, some dropped as the ring is full."""
    records, rng = share(1_000_000), random.Random(3)
    setup = Setup(run, body_words=4, slots=256)
    ring, board = setup.create_ring(), Board.create(run, setup.board)
    consumer, bell = ring.consumer(), setup.bell("items")
    producer = Child("produce", setup, count=records, drop_every=3)
    producer.go()
    consumed = 0
    corrupted = set()
    while producer.running or consumer.has_record:
        if consumed % 20_000 == 19_000:
            time.sleep(0.01)  # let the ring run full
        in_flight = ring.stats().in_flight
        if in_flight and rng.random() < 0.001:
            number = ring.words[TAIL] + rng.randrange(in_flight)
            if number not in corrupted:
                corrupted.add(number)
                ring.slot_payload(number % setup.slots)[rng.randrange(48)] ^= 1 << rng.randrange(8)
        record = wait_for(consumer.begin, bell, 0.01)
        if record is not None:
            assert np.array_equal(record.body, pattern(4, record.number, record.epoch)), "corrupted"
            consumer.release()
            consumed += 1
    assert producer.wait() == 0
    stats = ring.stats()
    written, dropped = board.counter("child", "committed"), board.counter("child", "dropped")
    assert written + dropped == records == stats.produced and stats.in_flight == 0
    assert stats.consumed == consumed
    expected = {"checksum": len(corrupted), "full": dropped, "sequence": 0, "epoch": 0}
    assert stats.dropped == expected
    assert stats.unaccounted == 0 and written == consumed + len(corrupted)
    figure = f"{records} records: {consumed} consumed, dropped {expected}, 0 unaccounted for"
    reached(20, figure, counts={"records": records})
