"""The ring under generated interleavings of single loads and stores, with deaths between any two of them."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from speedyzero.shm import Field, RecordLayout, Ring, RingSpec, Run, remove_run
from speedyzero.shm.ring import HEAD, TAIL, slot_start
from tests.shm.gated import POISON, GatedWords, Side
from tests.shm.interleavings import INTERLEAVINGS

BODY = 24


@dataclass(frozen=True)
class Message:
    body: np.ndarray  # [BODY] int64, every entry the message's value
    value: int


LAYOUT = RecordLayout.stored(Message, {}, body=Field("int64", (BODY,)), value=Field("int64"))


class RingModel:
    """A ring with at most one living producer and consumer, each stepped access by access, and what must hold."""

    def __init__(self, slots):
        self.run = Run.new()
        self.ring = Ring.create(self.run, RingSpec("messages", LAYOUT, slots))
        first, last = 8 * slot_start(self.ring.spec, 0), 8 * slot_start(self.ring.spec, slots)
        self.ring.payload[first:last] = POISON
        self.published: list[tuple[int, int]] = []  # (value, epoch) of each record that became visible
        self.corrupted: set[int] = set()  # records whose bytes the test changed
        self.next_value = 1
        self.attempt = (0, 0)
        self.delivered = 0
        self.producer_side, self.producer = Side(), None
        self.consumer_side, self.consumer = Side(), None

    def close(self):
        for side in (self.producer_side, self.consumer_side):
            side.kill()
        remove_run(self.run)

    # what the two processes do

    def start_producer(self):
        """Attach if there is no producer, else write one message."""
        self.producer_side.start(self._write if self.producer else self._attach_producer)

    def _gated_ring(self, side):
        ring = Ring.attach(self.run, self.ring.spec)
        ring.words = GatedWords(ring.words, side.gate)
        return ring

    def _attach_producer(self):
        self.producer = self._gated_ring(self.producer_side).producer()

    def _write(self):
        gate = self.producer_side.gate
        record = self.producer.begin()
        if record is None:
            return
        self.attempt = (self.next_value, self.producer.epoch)
        self.next_value += 1
        for part in (slice(0, 7), slice(7, None)):
            gate()
            record.body[part] = self.attempt[0]
        gate()
        record.value[...] = self.attempt[0]
        self.producer.commit()

    def start_consumer(self):
        self.consumer_side.start(self._read if self.consumer else self._attach_consumer)

    def _attach_consumer(self):
        self.consumer = self._gated_ring(self.consumer_side).consumer()

    def _read(self):
        gate = self.consumer_side.gate
        record = self.consumer.begin()
        if record is None:
            return
        number = self.ring.words[TAIL]
        value, epoch = self.published[number]
        for _ in range(2):  # at once, and after whatever others do meanwhile
            assert number not in self.corrupted, "a corrupted record was accepted"
            assert record.value == value and (record.body == value).all(), (record, value)
            assert self.consumer.epoch == epoch
            gate()
        self.delivered += 1
        self.consumer.release()

    def kill_producer(self):
        self.producer_side.kill()
        self.producer_side, self.producer = Side(), None

    def kill_consumer(self):
        self.consumer_side.kill()
        self.consumer_side, self.consumer = Side(), None

    def corrupt(self, choice):
        """Change one byte of a published record that nobody is looking at."""
        number = self.ring.words[TAIL] + choice % (self.ring.words[HEAD] - self.ring.words[TAIL])
        payload = self.ring.slot_payload(number % self.ring.spec.slots)
        payload[choice % (8 * BODY + 8)] ^= 1 << (choice % 8)
        if number in self.corrupted:  # the second change may be the first one undone
            payload[:] = POISON
        self.corrupted.add(number)

    # what must hold after every access

    def check(self):
        words, slots = self.ring.words, self.ring.spec.slots
        head, tail = words[HEAD], words[TAIL]
        assert len(self.published) <= head <= len(self.published) + 1
        if head > len(self.published):
            self.published.append(self.attempt)
            payload = self.ring.slot_payload((head - 1) % slots)
            views = LAYOUT.views(payload, writable=False)
            assert views.value == self.attempt[0] and (views.body == self.attempt[0]).all(), (
                "visible before it is whole"
            )
        assert 0 <= head - tail <= slots
        stats = self.ring.stats()
        assert stats.unaccounted == 0
        assert (stats.produced, stats.in_flight) == (head, head - tail)
        dropped_bad = sum(number < tail for number in self.corrupted)
        assert stats.dropped["checksum"] == dropped_bad
        assert stats.dropped["sequence"] == stats.dropped["epoch"] == stats.dropped["full"] == 0
        assert stats.consumed == tail - dropped_bad

    def drain(self):
        """Finish, with a living producer and consumer, until all that was published has been delivered."""
        for side in (self.producer_side, self.consumer_side):
            side.finish()
        self.check()
        if self.consumer is None:
            self.start_consumer()
            self.consumer_side.finish()
        while self.ring.words[TAIL] < self.ring.words[HEAD]:
            self.start_consumer()
            self.consumer_side.finish()
            self.check()


class RingMachine(RuleBasedStateMachine):
    @initialize(slots=st.integers(2, 4))
    def create(self, slots):
        self.model = RingModel(slots)

    def teardown(self):
        if hasattr(self, "model"):
            try:
                self.model.drain()
            finally:
                self.model.close()

    def _step(self, side, accesses):
        for _ in range(accesses):
            side.step()
            self.model.check()

    @rule(accesses=st.integers(1, 30))
    def produce(self, accesses):
        if not self.model.producer_side.busy:
            self.model.start_producer()
        self._step(self.model.producer_side, accesses)

    @rule(accesses=st.integers(1, 30))
    def consume(self, accesses):
        if not self.model.consumer_side.busy:
            self.model.start_consumer()
        self._step(self.model.consumer_side, accesses)

    @rule()
    def kill_producer(self):
        self.model.kill_producer()

    @rule()
    def kill_consumer(self):
        self.model.kill_consumer()

    @precondition(lambda self: not self.model.consumer_side.busy and self.model.ring.stats().in_flight)
    @rule(choice=st.integers(0, 10_000))
    def corrupt(self, choice):
        self.model.corrupt(choice)

    @invariant()
    def everything_is_accounted_for(self):
        if hasattr(self, "model"):
            self.model.check()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = INTERLEAVINGS


def run_to_end(model, side, start):
    start()
    while side.busy:
        side.step()
        model.check()


@pytest.mark.parametrize("victim", ["producer", "consumer"])
def test_death_before_every_single_access(victim):
    """Attach, then two records; killed before access k, for every k: the successor goes on, nothing lost or doubled."""
    accesses_survived = 0
    for k in range(200):
        model = RingModel(slots=2)
        try:
            for _ in range(3):
                run_to_end(model, model.producer_side, model.start_producer)
            if victim == "consumer":
                side, start, kill = model.consumer_side, model.start_consumer, model.kill_consumer
            else:
                model.start_consumer()
                model.consumer_side.finish()
                for _ in range(2):
                    run_to_end(model, model.consumer_side, model.start_consumer)
                model.kill_producer()
                side, start, kill = model.producer_side, model.start_producer, model.kill_producer
            for _ in range(3):
                if side.accesses < k:
                    start()
                while side.busy and side.accesses < k:
                    side.step()
                    model.check()
            survived = not side.busy and side.accesses < k
            kill()
            model.check()
            published = len(model.published)
            run_to_end(model, model.producer_side, model.start_producer)  # writes, or a successor attaches
            model.drain()
            assert model.ring.stats().consumed == len(model.published) >= published
            # A consumer's death hands out at most the one record again that it had not freed.
            assert len(model.published) <= model.delivered <= len(model.published) + (victim == "consumer")
        finally:
            model.close()
        if survived:
            accesses_survived = k
            break
    assert accesses_survived > 25, "the loop must have ended because the victim ran out of accesses"
