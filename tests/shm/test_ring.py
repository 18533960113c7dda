from dataclasses import dataclass

import numpy as np
import pytest

from speedyzero.shm import Doorbell, Field, RecordLayout, Ring, RingSpec, SegmentError
from speedyzero.shm.liveness import process_of
from speedyzero.shm.ring import CHECKSUM, CONSUMER_CLAIM, PRODUCER_CLAIM, SEQUENCE, SLOT_EPOCH, slot_start


@dataclass(frozen=True)
class Tick:
    frame: np.ndarray  # [4, 33] uint8
    number: int


LAYOUT = RecordLayout.stored(Tick, {}, frame=Field("uint8", (4, 33)), number=Field("int64"))


def tick(i):
    return Tick(np.full((4, 33), i % 251, np.uint8), i)


def ends(run, slots=3):
    ring = Ring.create(run, RingSpec("ticks", LAYOUT, slots))
    for slot in range(slots):
        ring.slot_payload(slot)[:] = 0xA5
    return ring, ring.producer(), Ring.attach(run, ring.spec).consumer()


def test_full_and_empty(run):
    ring, producer, consumer = ends(run, slots=2)
    assert consumer.begin() is None and consumer.get() is None
    assert producer.put(tick(0)) and producer.put(tick(1)) and not producer.put(tick(2))
    stats = ring.stats()
    assert (stats.produced, stats.in_flight, stats.dropped["full"]) == (2, 2, 0)
    assert not producer.put_or_drop(tick(2))
    consumer.get()
    assert producer.put_or_drop(tick(3)) and not producer.put_or_drop(tick(4))
    stats = ring.stats()
    assert (stats.produced, stats.in_flight, stats.consumed, stats.dropped["full"]) == (5, 2, 1, 2)
    assert stats.unaccounted == 0


def test_zero_copy_at_both_ends(run):
    ring, producer, consumer = ends(run)
    with pytest.raises(AssertionError, match="begun"):
        producer.commit()
    record = producer.begin()
    record.frame[:] = 7
    record.number[...] = 11
    assert not consumer.has_record and np.shares_memory(record.frame, ring.slot_payload(0))
    producer.commit()
    with pytest.raises(AssertionError, match="begun"):
        consumer.release()
    record = consumer.begin()
    assert record.number == 11 and (record.frame == 7).all() and not record.frame.flags.writeable
    ring.slot_payload(0)[0] = 9
    assert record.frame[0, 0] == 9 and ring.stats().in_flight == 1
    consumer.release()
    assert ring.stats().consumed == 1 and ring.stats().in_flight == 0


def test_a_record_that_does_not_fit_is_not_published(run):
    ring, producer, consumer = ends(run)
    with pytest.raises(ValueError, match="shape"):
        producer.put(Tick(np.zeros(3, np.uint8), 1))
    assert consumer.get() is None
    assert producer.put(tick(5)) and consumer.get().number == 5


def test_bad_slots_are_dropped_by_reason_and_the_next_is_read(run):
    ring, producer, consumer = ends(run, slots=5)
    for i in range(5):
        producer.put(tick(i))
    ring.slot_payload(0)[0] ^= 1
    ring.words[slot_start(ring.spec, 1) + SEQUENCE] += 5
    ring.words[slot_start(ring.spec, 2) + SLOT_EPOCH] = 9
    ring.slot_payload(3)[-1] ^= 0x80  # padding is covered too
    assert consumer.get().number == 4 and consumer.get() is None
    stats = ring.stats()
    assert {reason: n for reason, n in stats.dropped.items() if n} == {"checksum": 2, "sequence": 1, "epoch": 1}
    assert (stats.produced, stats.consumed, stats.unaccounted) == (5, 1, 0)


def test_a_record_of_an_earlier_producer_is_not_taken_after_a_later_one(run):
    ring, producer, consumer = ends(run)
    for _ in range(2):
        producer = ring.producer()
    producer.put(tick(0))
    consumer.get()
    producer.epoch = 2  # a stopped process that comes back to life after its successor
    producer.put(tick(1))
    assert consumer.get() is None and ring.stats().dropped["epoch"] == 1


@pytest.mark.parametrize("end", ["producer", "consumer"])
def test_each_end_is_held_by_one_living_process(run, end):
    ring, *_ = ends(run)
    holder = process_of(1)
    start = PRODUCER_CLAIM if end == "producer" else CONSUMER_CLAIM
    ring.words[start], ring.words[start + 1] = holder.pid, holder.start_ticks
    with pytest.raises(ValueError, match="ing end of ring ticks has one writer at a time: process 1"):
        getattr(ring, end)()


def test_each_end_notifies_the_other_s_bell(run):
    bells = [Doorbell.create(run, name) for name in ("writer", "reader")]
    rings = [Ring.create(run, RingSpec(f"ring{i}", LAYOUT, 2, "writer", "reader")) for i in range(2)]
    for ring in rings:  # one bell serves several rings
        ring.producer().put(tick(0))
        assert [bell.wait(0.0) for bell in bells] == [False, True]
        ring.consumer().get()
        assert [bell.wait(0.0) for bell in bells] == [True, False]
    missing = Ring.create(run, RingSpec("ring", LAYOUT, 2, consumer_bell="none"))
    with pytest.raises(SegmentError, match="No semaphore exists"):
        missing.producer()


def test_other_specs_are_refused(run):
    ends(run)
    other = RecordLayout.stored(Tick, {}, frame=Field("int8", (4, 33)), number=Field("int64"))
    for spec in (RingSpec("ticks", LAYOUT, 4), RingSpec("ticks", other, 3)):
        with pytest.raises(SegmentError, match="this process expects"):
            Ring.attach(run, spec)


def test_the_stamp_goes_with_the_number(run):
    """The bytes of a slot's record before are not taken for the new one, though they carry a checksum."""
    ring, producer, consumer = ends(run, slots=2)
    for i in range(2):
        producer.put(tick(i))
        consumer.get()
    stamp = slot_start(ring.spec, 0) + CHECKSUM
    old = ring.words[stamp]
    producer.begin()  # the old bytes
    producer.commit()
    ring.words[stamp] = old
    assert consumer.get() is None and ring.stats().dropped["checksum"] == 1
