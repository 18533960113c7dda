from dataclasses import dataclass

import numpy as np
import pytest

from speedyzero.shm import Doorbell, Field, RecordLayout, Ring, RingSpec, SegmentError
from speedyzero.shm import producer as producer_module
from speedyzero.shm.liveness import process_of
from speedyzero.shm.ring_memory import CONSUMER_CLAIM, PRODUCER_CLAIM, SEQUENCE, SLOT_EPOCH, slot_start


@dataclass(frozen=True)
class Tick:
    frame: np.ndarray  # [4, 33] uint8
    number: int


LAYOUT = RecordLayout.of(Tick, frame=Field("uint8", (4, 33)), number=Field("int64"))


def tick(i):
    return Tick(np.full((4, 33), i % 251, np.uint8), i)


def ends(run, slots=3, **bells):
    ring = Ring.create(run, RingSpec("ticks", LAYOUT, slots, **bells))
    for slot in range(slots):
        ring.slot_payload(slot)[:] = 0xA5
    return ring, ring.producer(), Ring.attach(run, ring.spec).consumer()


def test_in_order_each_once_around_many_times(run):
    ring, producer, consumer = ends(run)
    sent = received = 0
    rng = np.random.default_rng(0)
    while received < 200:
        if rng.random() < 0.5:
            sent += producer.put(tick(sent))
        else:
            record = consumer.get()
            assert (record is None) == (received == sent)
            if record is not None:
                assert record.number == received and (record.frame == received % 251).all()
                received += 1
        assert (ring.stats().in_flight, ring.stats().consumed) == (sent - received, received)


def test_full_and_empty(run):
    ring, producer, consumer = ends(run, slots=2)
    assert consumer.begin(timeout_s=0.01) is None
    assert producer.put(tick(0)) and producer.put(tick(1)) and not producer.put(tick(2), timeout_s=0.01)
    assert not producer.put(tick(2), timeout_s=60, stop=lambda: True)
    stats = ring.stats()
    assert stats.producer_blocked_s > 0 and stats.consumer_blocked_s > 0
    assert (stats.produced, stats.in_flight, stats.dropped["full"]) == (2, 2, 0)
    assert not producer.put_or_drop(tick(2))
    consumer.get()
    assert producer.put_or_drop(tick(3)) and not producer.put_or_drop(tick(4))
    stats = ring.stats()
    assert (stats.produced, stats.in_flight, stats.consumed, stats.dropped["full"]) == (5, 2, 1, 2)
    assert stats.unaccounted == 0


def test_zero_copy_at_both_ends(run):
    ring, producer, consumer = ends(run)
    with producer.writing() as record:
        record.frame[:] = 7
        record.number[...] = 11
        assert ring.stats().writing and not consumer.has_record
        assert np.shares_memory(record.frame, ring.slot_payload(0))
    with consumer.reading() as record:
        assert record.number == 11 and (record.frame == 7).all() and not record.frame.flags.writeable
        assert ring.stats().reading and ring.stats().in_flight == 1
    assert ring.stats().consumed == 1 and not ring.stats().reading


def test_an_exception_while_writing_publishes_nothing(run):
    ring, producer, consumer = ends(run)
    with pytest.raises(ZeroDivisionError), producer.writing() as record:
        record.frame[:] = 7
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="shape"):
        producer.put(Tick(np.zeros(3, np.uint8), 1))
    assert consumer.get() is None and not ring.stats().writing
    assert producer.put(tick(5)) and consumer.get().number == 5


def test_an_exception_while_reading_keeps_the_record(run):
    ring, producer, consumer = ends(run)
    producer.put(tick(5))
    with pytest.raises(ZeroDivisionError), consumer.reading():
        raise ZeroDivisionError
    assert ring.stats().in_flight == 1 and consumer.get().number == 5


def test_discarded_is_not_consumed(run):
    ring, producer, consumer = ends(run)
    for i in range(3):
        producer.put(tick(i))
    with consumer.reading():
        consumer.discard()
    consumer.begin()
    consumer.release()
    stats = ring.stats()
    assert (stats.consumed, stats.dropped["discarded"], stats.in_flight, stats.unaccounted) == (1, 1, 1, 0)


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


def test_every_bit_of_a_record_is_guarded(run):
    _, producer, consumer = ends(run, slots=2)
    ring = consumer._ring
    flips = 0
    for bit in range(0, 8 * LAYOUT.payload_bytes, 5):
        producer.put(tick(bit))
        ring.slot_payload(consumer.freed % 2)[bit // 8] ^= 1 << (bit % 8)
        assert consumer.get() is None
        flips += 1
    assert ring.stats().dropped["checksum"] == flips


def test_a_restarted_producer_begins_a_new_epoch_at_the_published_head(run):
    ring, producer, consumer = ends(run)
    producer.put(tick(0))
    producer.begin().frame[:] = 99  # and dies
    assert ring.stats().writing
    successor = Ring.attach(run, ring.spec).producer()
    assert (successor.epoch, successor.published) == (2, 1) and not ring.stats().writing
    assert consumer.get().number == 0 and consumer.epoch == 1 and consumer.get() is None
    successor.put(tick(1))
    assert consumer.begin().number == 1 and consumer.epoch == 2
    consumer.release()
    assert ring.stats().unaccounted == 0 and ring.stats().consumed == 2


def test_a_restarted_consumer_reads_what_was_not_freed(run):
    ring, producer, consumer = ends(run)
    for i in range(3):
        producer.put(tick(i))
    consumer.get()
    consumer.begin()  # and dies
    successor = Ring.attach(run, ring.spec).consumer()
    assert [successor.get().number for _ in range(2)] == [1, 2]
    assert ring.stats().consumed == 3 and ring.stats().unaccounted == 0


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
    assert getattr(ring, f"{end}_process") == holder


def test_a_process_waits_on_one_bell_for_several_rings(run):
    bell = Doorbell.create(run, "reader")
    rings = [Ring.create(run, RingSpec(f"ring{i}", LAYOUT, 2, consumer_bell="reader")) for i in range(2)]
    for ring in rings:
        ring.producer().put(tick(0))
        assert bell.wait(60)
    for ring in rings:
        ring.unlink()
    Doorbell.attach(run, "reader")  # a shared bell is its maker's to remove


def test_a_missing_shared_bell_leaves_nothing(run):
    spec = RingSpec("ring", LAYOUT, 2, consumer_bell="none")
    with pytest.raises(SegmentError, match="does not exist"):
        Ring.create(run, spec)
    Ring.create(run, RingSpec("ring", LAYOUT, 2))


def test_other_specs_are_refused(run):
    ends(run)
    other = RecordLayout.of(Tick, frame=Field("int8", (4, 33)), number=Field("int64"))
    for spec in (RingSpec("ticks", LAYOUT, 4), RingSpec("ticks", other, 3)):
        with pytest.raises(SegmentError, match="this process expects"):
            Ring.attach(run, spec)
    with pytest.raises(ValueError, match="1 slots < 2"):
        RingSpec("ticks", LAYOUT, 1)


def test_a_long_record(run):
    layout = RecordLayout.of(Tick, frame=Field("uint8", (300, 333)), number=Field("int64"))
    ring = Ring.create(run, RingSpec("long", layout, 2))
    producer, consumer = ring.producer(), ring.consumer()
    frame = np.random.default_rng(0).integers(0, 256, (300, 333), np.uint8)
    producer.put(Tick(frame, 3))
    assert np.array_equal(consumer.get().frame, frame)
    producer.put(Tick(frame, 3))
    ring.slot_payload(1)[50_000] ^= 4
    assert consumer.get() is None and ring.stats().dropped["checksum"] == 1
    assert ring.spec.total_bytes == (run.directory / run.object_name("long")).stat().st_size


def test_the_stamp_goes_with_the_number(run, monkeypatch):
    """The bytes of a slot's record before are not taken for the new one, though they carry a checksum."""
    ring, producer, consumer = ends(run, slots=2)
    for i in range(2):
        producer.put(tick(i))
        consumer.get()
    monkeypatch.setattr(producer_module, "checksum", lambda *_: ring.words[slot_start(ring.spec, 0) + 2])
    producer.begin()
    producer.commit()
    assert consumer.get() is None and ring.stats().dropped["checksum"] == 1
