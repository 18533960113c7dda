"""Weight slots under generated interleavings of single accesses, with deaths of the writer between any two of them."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from speedyzero.shm import Run, WeightSlots, WeightSlotsSpec, remove_run
from speedyzero.shm.weight_slots import PUBLISHED, slot_start
from tests.shm.gated import POISON, GatedArray, GatedWords, Side
from tests.shm.interleavings import INTERLEAVINGS

SIZE = 16  # bytes of a version; all equal to the version's number


class WeightsModel:
    def __init__(self):
        self.run = Run.new()
        self.slots = WeightSlots.create(self.run, WeightSlotsSpec("weights", SIZE))
        self.slots.payload[8 * slot_start(self.slots.spec, 0) :] = POISON
        self.writer_side, self.writer = Side(), None
        self.reader_side = Side()
        self.reader = self._gated(self.reader_side).reader()
        self.next_version = 1
        self.attempt = 0
        self.published = {0: 0}  # version of each publication
        self.newest_read = 0

    def close(self):
        self.writer_side.kill()
        self.reader_side.kill()
        remove_run(self.run)

    def _gated(self, side):
        slots = WeightSlots.attach(self.run, self.slots.spec, writable=True)
        slots.words = GatedWords(slots.words, side.gate)
        plain = slots.slot_payload
        slots.slot_payload = lambda slot: GatedArray.of(plain(slot), side.gate)
        return slots

    def start_writer(self):
        if self.writer is None:
            self.writer_side.start(self._attach_writer)
        else:
            self.writer_side.start(self._publish)

    def _attach_writer(self):
        self.writer = self._gated(self.writer_side).writer()

    def _publish(self):
        self.attempt, self.next_version = self.next_version, self.next_version % 150 + 1  # never the poison
        self.writer.publish(self.attempt, np.full(SIZE, self.attempt, np.uint8))

    def kill_writer(self):
        self.writer_side.kill()
        self.writer_side, self.writer = Side(), None

    def start_reader(self):
        self.reader_side.start(self._read)

    def _read(self):
        newest_at_start = self.slots.words[PUBLISHED]
        publication = self.reader.read()
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
            assert self.reader.corrupt == 0, "a copy passed the recheck and was wrong"


class WeightsMachine(RuleBasedStateMachine):
    @initialize()
    def create(self):
        self.model = WeightsModel()

    def teardown(self):
        if hasattr(self, "model"):
            self.model.close()

    @rule(accesses=st.integers(1, 40))
    def write(self, accesses):
        if not self.model.writer_side.busy:
            self.model.start_writer()
        self.model.step(self.model.writer_side, accesses)

    @rule(accesses=st.integers(1, 15))
    def read(self, accesses):
        if not self.model.reader_side.busy:
            self.model.start_reader()
        self.model.step(self.model.reader_side, accesses)

    @rule()
    def kill_writer(self):
        self.model.kill_writer()


TestWeightsMachine = WeightsMachine.TestCase
TestWeightsMachine.settings = INTERLEAVINGS


def test_a_reader_overtaken_at_every_point_by_every_amount():
    """The writer makes m accesses between access k and k + 1 of a read, for every k and m: up to 4 publications."""
    overtaken = 0
    model = WeightsModel()
    try:
        run_writer(model, publications=2)
        for k in range(8):
            for m in range(1, 45):
                model.start_reader()
                model.step(model.reader_side, k)
                while model.writer_side.accesses < m:
                    if not model.writer_side.busy:
                        model.start_writer()
                    model.step(model.writer_side, 1)
                model.reader_side.finish()
                assert model.reader.corrupt == 0, (k, m)
                model.writer_side.finish()
                run_writer(model, publications=1)  # something newer for the next round
        overtaken = model.reader.overtaken
    finally:
        model.close()
    assert overtaken > 50, "most of what lets the writer come round must have been noticed"


def run_writer(model, publications):
    last = model.slots.words[PUBLISHED] + publications
    while model.slots.words[PUBLISHED] < last:
        if not model.writer_side.busy:
            model.start_writer()
        model.step(model.writer_side, 1)
    model.writer_side.finish()
    model.writer_side.accesses = 0
