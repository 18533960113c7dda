"""Weight slots under generated interleavings of single accesses, with deaths of the writer between any two of them."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from speedyzero.shm import Run, WeightSlots, WeightSlotsSpec, remove_run
from speedyzero.shm.weight_slots import PUBLISHED, slot_start
from tests.shm.gated import POISON, GatedArray, GatedWords, Party
from tests.shm.interleavings import INTERLEAVINGS

SIZE = 16  # bytes of a version; all equal to the version's number


class WeightsModel:
    def __init__(self):
        self.run = Run.new()
        self.slots = WeightSlots.create(self.run, WeightSlotsSpec("weights", SIZE))
        self.slots.payload[8 * slot_start(self.slots.spec, 0) :] = POISON
        self.writer = Party(lambda gate: self._gated(gate).writer(), self._publish)
        self.reader = Party(lambda gate: self._gated(gate).reader(), self._read)
        self.reader.start()
        self.next_version = 1
        self.attempt = 0
        self.published = {0: 0}  # version of each publication
        self.newest_read = 0

    def close(self):
        self.writer.kill()
        self.reader.kill()
        remove_run(self.run)

    def _gated(self, gate):
        slots = WeightSlots.attach(self.run, self.slots.spec, writable=True)
        slots.words = GatedWords(slots.words, gate)
        plain = slots.slot_payload
        slots.slot_payload = lambda slot: GatedArray.of(plain(slot), gate)
        return slots

    def _publish(self, writer, gate):
        self.attempt, self.next_version = self.next_version, self.next_version % 150 + 1  # never the poison
        writer.publish(self.attempt, np.full(SIZE, self.attempt, np.uint8))

    def _read(self, reader, gate):
        newest_at_start = self.slots.words[PUBLISHED]
        publication = reader.read()
        if publication is None:
            return
        assert publication.number >= newest_at_start > self.newest_read, "newest wins, each at most once"
        self.newest_read = publication.number
        assert publication.version == self.published[publication.number]
        assert (np.asarray(publication.data) == publication.version).all(), "bytes of two versions"

    def step(self, side, accesses):
        for _ in range(accesses):
            side.step()
            self.published.setdefault(self.slots.words[PUBLISHED], self.attempt)
            assert self.reader.end.corrupt == 0, "a copy passed the recheck and was wrong"


class WeightsMachine(RuleBasedStateMachine):
    @initialize()
    def create(self):
        self.model = WeightsModel()

    def teardown(self):
        if hasattr(self, "model"):
            self.model.close()

    def _go_on(self, party, accesses):
        if not party.side.busy:
            party.start()
        self.model.step(party.side, accesses)

    @rule(accesses=st.integers(1, 40))
    def write(self, accesses):
        self._go_on(self.model.writer, accesses)

    @rule(accesses=st.integers(1, 15))
    def read(self, accesses):
        self._go_on(self.model.reader, accesses)

    @rule()
    def kill_writer(self):
        self.model.writer.kill()


TestWeightsMachine = WeightsMachine.TestCase
TestWeightsMachine.settings = INTERLEAVINGS
