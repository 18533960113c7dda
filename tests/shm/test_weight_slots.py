import numpy as np
import pytest

from speedyzero.shm import SegmentError, WeightSlots, WeightSlotsSpec
from speedyzero.shm.liveness import process_of
from speedyzero.shm.weight_slots import PUBLISHED, WRITER_CLAIM

SPEC = WeightSlotsSpec("weights", 4 * 1000)


def flat(seed):
    return np.random.default_rng(seed).random(1000, np.float32)


def test_newest_wins_and_each_is_read_once(run):
    slots = WeightSlots.create(run, SPEC)
    writer, reader = slots.writer(), WeightSlots.attach(run, SPEC).reader()
    assert reader.read() is None and not reader.has_newer
    for version in range(0, 50, 5):
        writer.publish(version, flat(version))
        if version % 15 == 0:
            publication = reader.read()
            assert publication.version == version and np.array_equal(publication.data.view(np.float32), flat(version))
            assert reader.read() is None
    writer.publish(3, flat(3))  # after a restart from an older state, the newest publication is an older version
    assert reader.read().version == 3
    assert slots.words[PUBLISHED] == 11 and reader.corrupt == reader.overtaken == 0


def test_every_reader_has_its_own_place(run):
    slots = WeightSlots.create(run, SPEC)
    readers = [slots.reader() for _ in range(3)]
    slots.writer().publish(1, flat(1))
    assert [reader.read().version for reader in readers] == [1, 1, 1]


def test_corruption_is_never_returned(run):
    slots = WeightSlots.create(run, SPEC)
    writer, reader = slots.writer(), slots.reader()
    for bit in range(0, 8 * SPEC.size_bytes, 1001):
        writer.publish(1, flat(bit))
        slots.slot_payload(slots.words[PUBLISHED] % 3)[bit // 8] ^= 1 << (bit % 8)
        assert reader.read() is None
    assert reader.corrupt == slots.words[PUBLISHED] == 32
    writer.publish(2, flat(0))
    assert reader.read().version == 2


def test_one_living_writer(run):
    slots = WeightSlots.create(run, SPEC)
    holder = process_of(1)
    slots.words[WRITER_CLAIM], slots.words[WRITER_CLAIM + 1] = holder.pid, holder.start_ticks
    with pytest.raises(ValueError, match="process 1 holds it"):
        slots.writer()
    WeightSlots.create(run, WeightSlotsSpec("others", 8)).close()
    with pytest.raises(TypeError, match="read-only"):
        WeightSlots.attach(run, WeightSlotsSpec("others", 8)).writer()


def test_what_does_not_fit(run):
    writer = WeightSlots.create(run, SPEC).writer()
    with pytest.raises(ValueError, match=r"\(3996,\), not \(4000,\)"):
        writer.publish(1, flat(1)[1:])
    with pytest.raises(SegmentError):
        WeightSlots.attach(run, WeightSlotsSpec("weights", 4001))
