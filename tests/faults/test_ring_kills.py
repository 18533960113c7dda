"""Real processes killed with SIGKILL while they write and read a ring. Contract rows 1, 2 and 20.

A quarter of the deaths falls before a seeded access of the victim to the ring, a quarter at a seeded place inside a
record, and half whenever the test strikes while the ring runs at full speed.
"""

import random
import signal
import time

import numpy as np
import pytest

from speedyzero.shm import Board, SharedArrays
from speedyzero.shm.ring import EPOCH, HEAD, READING, TAIL, WRITING
from tests.faults.ring_child import WAIT_S, Child, Setup, pattern, until, wait_for
from tests.faults.ring_contract import reached, share

LONG_BODY = 12_000  # words: 96 kB, so that most of the time is spent inside payloads


@pytest.fixture
def children():
    started = []
    yield started
    for child in started:
        child.close()


def death(kill, rng):
    """How victim number `kill` dies by its own hand; nothing for one that the test strikes."""
    if kill % 2:
        return {}
    return {"die_at": rng.randrange(300)} if kill % 4 else {"die_inside": rng.randrange(100)}


class Reader:
    """The test's own end: checks each record by its pattern, whatever the ring's checksum says."""

    def __init__(self, ring, setup):
        self.consumer, self.bell, self.setup = ring.consumer(), setup.bell("items"), setup
        self.read, self.last_epoch = 0, 0

    def next(self, wait_s=0.0):
        record = wait_for(self.consumer.get, self.bell, wait_s)
        if record is None:
            return None
        assert record.number == self.read, "sequence numbers must have no gap and no repetition"
        assert record.epoch == self.consumer.epoch >= self.last_epoch
        assert np.array_equal(record.body, pattern(self.setup.body_words, record.number, record.epoch)), "torn"
        self.read, self.last_epoch = self.read + 1, record.epoch
        return record


@pytest.mark.contract(1, 2, 4)
def test_producers_killed_while_they_write(shm_run, children):
    kills, rng = share(200), random.Random(1)
    setup = Setup(shm_run, body_words=LONG_BODY)
    ring, board = setup.create_ring(), Board.create(shm_run, setup.board)
    ring.payload[512:] = 0xA5
    reader = Reader(ring, setup)
    inside_a_write, longest_handover_s = 0, 0.0

    def stand_by(kill):
        children.append(Child("produce", setup, **death(kill, rng)))
        return children[-1]

    def live_and_die(victim, by_our_hand):
        """Returns the seconds until it first delivered, and whether it died inside a write."""
        epochs_before, started = ring.words[EPOCH], time.monotonic()
        victim.go()
        until(lambda: reader.last_epoch > epochs_before or not victim.running, lambda: reader.next(0.001))
        first_s = time.monotonic() - started
        if by_our_hand:
            strike = time.monotonic() + rng.uniform(0, 0.02)
            until(lambda: time.monotonic() > strike, reader.next)
            victim.kill()
        until(lambda: not victim.running, lambda: reader.next(0.001))
        assert victim.wait() == -signal.SIGKILL
        inside = ring.words[WRITING] == ring.words[HEAD] + 1
        while reader.next() is not None:
            pass
        return first_s, inside

    successor = stand_by(0)
    for kill in range(kills):
        victim, successor = successor, stand_by(kill + 1)
        first_s, inside = live_and_die(victim, by_our_hand=kill % 2 == 1)
        longest_handover_s = max(longest_handover_s, first_s)
        inside_a_write += inside
    stats = ring.stats()
    begun, committed = board.counter("child", "begun"), board.counter("child", "committed")
    assert stats.produced == stats.consumed == reader.read and stats.unaccounted == stats.in_flight == 0
    assert not any(stats.dropped.values()), "not even a bad record may have been published"
    assert committed <= reader.read <= begun <= reader.read + kills, "a death costs at most the record being written"
    assert inside_a_write >= kills // 4, "the deaths must fall inside writes"
    figure = f"{kills} SIGKILLs of producers, {inside_a_write} inside a write: 0 bad of {reader.read} records"
    reached(1, figure, counts={"kills of producers": kills})
    figure = f"no gap in {reader.read} records; {begun - reader.read} unpublished ones lost in {kills} kills"
    reached(2, figure, counts={"kills of producers": kills})
    reached(4, f"a producer that stood by delivered within {longest_handover_s:.2f} s", worst_s=longest_handover_s)


@pytest.mark.contract(2)
def test_consumers_killed_while_they_read(shm_run, children):
    kills, rng = share(50), random.Random(2)
    setup = Setup(shm_run, body_words=LONG_BODY, messages=300 * kills)
    ring = setup.create_ring()
    delivered = SharedArrays.create(shm_run, setup.deliveries)["count"]
    producer, bell = ring.producer(), setup.bell("space")
    inside_a_read = sent = 0

    def send(wait_s):
        nonlocal sent
        if sent == setup.messages or (record := wait_for(producer.begin, bell, wait_s)) is None:
            return False
        record.body[:] = pattern(LONG_BODY, sent, producer.epoch)
        record.number[...], record.epoch[...] = sent, producer.epoch
        producer.commit()
        sent += 1
        return True

    def stand_by(kill):
        children.append(Child("consume", setup, **({} if kill == kills else death(kill, rng))))
        return children[-1]

    def live_and_die(victim, by_our_hand):
        """Returns whether it died inside a read."""
        freed = ring.stats().consumed
        victim.go()
        if by_our_hand:
            until(lambda: ring.stats().consumed > freed, lambda: send(0.001))
            strike = time.monotonic() + rng.uniform(0, 0.002)
            until(lambda: time.monotonic() > strike, lambda: send(0.0))
            victim.kill()
        until(lambda: not victim.running, lambda: send(0.001))
        assert victim.wait() == -signal.SIGKILL
        return ring.words[READING] == ring.words[TAIL] + 1

    successor = stand_by(0)
    for kill in range(kills):
        victim, successor = successor, stand_by(kill + 1)
        inside_a_read += live_and_die(victim, by_our_hand=kill % 2 == 1)
    successor.go()
    while send(WAIT_S):
        pass
    assert successor.wait() == 0, "the last consumer must find all the rest in order"
    stats = ring.stats()
    assert stats.produced == stats.consumed == setup.messages and stats.unaccounted == stats.in_flight == 0
    assert not any(stats.dropped.values())
    twice = int((delivered - 1).sum())
    assert delivered.min() == 1 and twice <= kills, "only the record in hand at a death may be handed out again"
    assert inside_a_read >= kills // 4, "the deaths must fall inside reads"
    figure = f"{kills} SIGKILLs of consumers, {inside_a_read} inside a read: 0 lost, {twice} read again"
    reached(2, figure, counts={"kills of consumers": kills})


@pytest.mark.contract(20)
def test_every_record_is_accounted_for(shm_run, children):
    """Short records at full speed; some corrupted by the test, some dropped as the ring is full."""
    records, rng = share(1_000_000), random.Random(3)
    setup = Setup(shm_run, body_words=4, slots=256)
    ring, board = setup.create_ring(), Board.create(shm_run, setup.board)
    consumer, bell = ring.consumer(), setup.bell("items")
    children.append(Child("produce", setup, count=records, drop_every=3))
    children[0].go()
    consumed = 0
    corrupted = set()
    while children[0].running or consumer.has_record:
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
    assert children[0].wait() == 0
    stats = ring.stats()
    written, dropped = board.counter("child", "committed"), board.counter("child", "dropped")
    assert written + dropped == records == stats.produced and stats.in_flight == 0
    assert stats.consumed == consumed
    expected = {"checksum": len(corrupted), "full": dropped, "sequence": 0, "epoch": 0}
    assert stats.dropped == expected
    assert stats.unaccounted == 0 and written == consumed + len(corrupted)
    figure = f"{records} records: {consumed} consumed, dropped {expected}, 0 unaccounted for"
    reached(20, figure, counts={"records": records})
