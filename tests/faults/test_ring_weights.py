"""No process ever computes with weights of mixed versions. Contract row 10."""

import random
import time

import numpy as np
import pytest

from speedyzero.shm import WeightSlots
from tests.faults.ring_child import WAIT_S, Child, Setup, version_words
from tests.faults.ring_contract import reached, share

WORDS = 2048  # 16 kB a version


@pytest.fixture
def setup(run):
    return Setup(run, weight_words=WORDS)


class SlowCopy(np.ndarray):
    """Bytes that are copied in parts, so that a writer at full speed overtakes many of the copies."""

    def copy(self):
        source, copied, part = self.view(np.ndarray), np.zeros(self.shape, self.dtype), self.size // 128
        for start in range(0, self.size, part):
            copied[start : start + part] = source[start : start + part]
        return copied


def read_first(reader):
    deadline = time.monotonic() + WAIT_S
    while (publication := reader.read()) is None:
        assert time.monotonic() < deadline, "the successor must publish"
    return publication


@pytest.mark.contract(10)
def test_reads_against_a_racing_writer_that_is_killed(setup):
    reads, rng = share(100_000), random.Random(4)
    slots = WeightSlots.create(setup.run, setup.weights)
    slow_slots, waiter = WeightSlots.attach(setup.run, setup.weights), slots.reader()
    slow_slots.slot_payload = lambda slot: slots.slot_payload(slot).view(SlowCopy)
    accepted = overtaken = kills = newest = 0
    versions = set()
    writer = None
    try:
        while accepted + overtaken < reads:
            if writer is None:
                writer = Child("publish", setup)
                waiter.read()
                writer.go()
                read_first(waiter)
                strike = accepted + overtaken + reads // 4 + rng.randrange(100)
            # A new reader reads the newest version, whether it is new or not.
            reader = (slow_slots if rng.random() < 0.5 else slots).reader()
            publication = reader.read()
            overtaken += reader.overtaken
            assert reader.corrupt == 0, "a copy that passed the recheck must be whole"
            if publication is not None:
                accepted += 1
                words = np.asarray(publication.data).view(np.uint64)
                assert np.array_equal(words, version_words(WORDS, publication.version)), "bytes of two versions"
                assert publication.version >= newest, "newest wins"
                newest = publication.version
                versions.add(newest)
            if accepted + overtaken >= strike:
                writer.kill()
                writer.wait()
                writer, kills = None, kills + 1
    finally:
        if writer is not None:
            writer.close()
    assert accepted > 0 and kills >= 3
    figure = f"{accepted} reads of {len(versions)} versions accepted, 0 mixed; {overtaken} overtaken and thrown away"
    reached(10, f"{figure}; writer killed {kills} times", counts={"reads": accepted + overtaken})
