"""The ring under generated interleavings of single loads and stores, with deaths between any two of them."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from speedyzero.shm import Field, RecordLayout, Ring, RingSpec, Run, remove_run
from speedyzero.shm.ring import HEAD, TAIL, slot_start
from tests.shm.gated import POISON, GatedWords, Party
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
        self.producer = Party(lambda gate: self._gated_ring(gate).producer(), self._write)
        self.consumer = Party(lambda gate: self._gated_ring(gate).consumer(), self._read)

    def close(self):
        for party in (self.producer, self.consumer):
            party.kill()
        remove_run(self.run)

    def _gated_ring(self, gate):
        ring = Ring.attach(self.run, self.ring.spec)
        ring.words = GatedWords(ring.words, gate)
        return ring

    def _write(self, producer, gate):
        record = producer.begin()
        if record is None:
            return
        self.attempt = (self.next_value, producer.epoch)
        self.next_value += 1
        for part in (slice(0, 7), slice(7, None)):
            gate()
            record.body[part] = self.attempt[0]
        gate()
        record.value[...] = self.attempt[0]
        producer.commit()

    def _read(self, consumer, gate):
        record = consumer.begin()
        if record is None:
            return
        number = self.ring.words[TAIL]
        value, epoch = self.published[number]
        for _ in range(2):  # at once, and after whatever others do meanwhile
            assert number not in self.corrupted, "a corrupted record was accepted"
            assert record.value == value and (record.body == value).all(), (record, value)
            assert consumer.epoch == epoch
            gate()
        self.delivered += 1
        consumer.release()

    def corrupt(self, choice):
        """Change one byte of a published record that nobody is looking at."""
        number = self.ring.words[TAIL] + choice % (self.ring.words[HEAD] - self.ring.words[TAIL])
        payload = self.ring.slot_payload(number % self.ring.spec.slots)
        payload[choice % (8 * BODY + 8)] ^= 1 << (choice % 8)
        if number in self.corrupted:  # the second change may be the first one undone
            payload[:] = POISON
        self.corrupted.add(number)

    def check(self):
        """What must hold after every access."""
        words, slots = self.ring.words, self.ring.spec.slots
        head, tail = words[HEAD], words[TAIL]
        assert len(self.published) <= head <= len(self.published) + 1
        if head > len(self.published):
            self.published.append(self.attempt)
            views = LAYOUT.views(self.ring.slot_payload((head - 1) % slots), writable=False)
            is_whole = views.value == self.attempt[0] and (views.body == self.attempt[0]).all()
            assert is_whole, "visible before it is whole"
        assert 0 <= head - tail <= slots
        stats = self.ring.stats()
        dropped_bad = sum(number < tail for number in self.corrupted)
        assert (stats.produced, stats.in_flight, stats.consumed) == (head, head - tail, tail - dropped_bad)
        assert stats.dropped == {"checksum": dropped_bad, "sequence": 0, "epoch": 0, "full": 0}

    def run_to_end(self, party):
        """Attach, or one message, checked after every access."""
        party.start()
        while party.side.busy:
            party.side.step()
            self.check()

    def drain(self):
        """Finish, with a living producer and consumer, until all that was published has been delivered."""
        for party in (self.producer, self.consumer):
            party.side.finish()
        self.check()
        if self.consumer.end is None:
            self.run_to_end(self.consumer)
        while self.ring.words[TAIL] < self.ring.words[HEAD]:
            self.run_to_end(self.consumer)


class RingMachine(RuleBasedStateMachine):
    @initialize(slots=st.integers(2, 4))
    def create(self, slots):
        self.model = RingModel(slots)
        self.parties = {"producer": self.model.producer, "consumer": self.model.consumer}

    def teardown(self):
        if hasattr(self, "model"):
            try:
                self.model.drain()
            finally:
                self.model.close()

    @rule(name=st.sampled_from(["producer", "consumer"]), accesses=st.integers(1, 30))
    def go_on(self, name, accesses):
        party = self.parties[name]
        if not party.side.busy:
            party.start()
        for _ in range(accesses):
            party.side.step()
            self.model.check()

    @rule(name=st.sampled_from(["producer", "consumer"]))
    def kill(self, name):
        self.parties[name].kill()

    @precondition(lambda self: not self.model.consumer.side.busy and self.model.ring.stats().in_flight)
    @rule(choice=st.integers(0, 10_000))
    def corrupt(self, choice):
        self.model.corrupt(choice)

    @invariant()
    def everything_is_accounted_for(self):
        if hasattr(self, "model"):
            self.model.check()


TestRingMachine = RingMachine.TestCase
TestRingMachine.settings = INTERLEAVINGS


@pytest.mark.parametrize("victim", ["producer", "consumer"])
def test_death_before_every_single_access(victim):
    """Attach, then two records; killed before access k, for every k: its successor continues, nothing lost or twice."""
    accesses_survived = 0
    for k in range(200):
        model = RingModel(slots=2)
        try:
            for _ in range(3):
                model.run_to_end(model.producer)
            party = model.consumer
            if victim == "producer":
                for _ in range(3):
                    model.run_to_end(model.consumer)
                model.producer.kill()
                party = model.producer
            for _ in range(3):
                if party.side.accesses < k:
                    party.start()
                while party.side.busy and party.side.accesses < k:
                    party.side.step()
                    model.check()
            survived = not party.side.busy and party.side.accesses < k
            party.kill()
            model.check()
            published = len(model.published)
            model.run_to_end(model.producer)  # writes, or a successor attaches
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
