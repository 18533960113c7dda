"""No process ever computes with weights of mixed versions. Contract row 10."""

import random

import numpy as np
import pytest

from speedyzero.shm import WeightSlots
from tests.faults.ring_child import WAIT_S, Child, Setup, version_words
from tests.faults.ring_contract import reached, share

WORDS = 2048  # 16 kB a version


@pytest.fixture
def setup(shm_run):
    return Setup(shm_run, weight_words=WORDS)


class SlowCopy(np.ndarray):
    """Bytes that are copied into in parts, so that a writer at full speed overtakes many of the copies."""

    def __setitem__(self, index, value):
        plain = self.view(np.ndarray)
        for start in range(0, self.size, self.size // 128):
            plain[start : start + self.size // 128] = value[start : start + self.size // 128]


@pytest.mark.contract(10)
def test_reads_against_a_racing_writer_that_is_killed(setup):
    reads, rng = share(100_000), random.Random(4)
    slots = WeightSlots.create(setup.run, setup.weights)
    waiter = slots.reader()
    slow = np.zeros(8 * WORDS, np.uint8).view(SlowCopy)
    accepted = overtaken = kills = newest = 0
    versions = set()
    writer = None
    try:
        while accepted + overtaken < reads:
            if writer is None:
                writer = Child("publish", setup)
                waiter.read()
                writer.go()
                assert waiter.read(timeout_s=WAIT_S) is not None, "the successor must publish"
                strike = accepted + overtaken + reads // 4 + rng.randrange(100)
            reader = slots.reader()  # a new one reads the newest version, whether it is new or not
            publication = reader.read(out=slow if rng.random() < 0.5 else None)
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
