"""Processes that die at a named point of a ring or of weight slots: `python -m tests.faults.ring_points ROLE CONFIG`.

A point is the moment before a store that others can see, or before, in and after a wait; between two points a process
holds what it held at the first. One process forks the victims one after another, so that thousands can die in seconds:
it holds nothing itself, knows no torch, and has one thread.
"""

import os
import random
import resource
import signal

import numpy as np

from speedyzero.shm import Ring, WeightSlots
from speedyzero.shm import ring as ring_words
from speedyzero.shm import weight_slots as weight_words
from tests.faults.ring_child import Message, die_with, main, pattern, version_words, wait_for
from tests.shm.gated import GatedArray

PRODUCER_POINTS = (
    *("claim", "epoch", "writing", "payload", "checksum", "slot epoch", "sequence", "head"),
    *("bell", "falling asleep", "asleep", "awake"),
)
CONSUMER_POINTS = ("claim", "reading", "payload", "bank", "tail", "bell", "falling asleep", "asleep", "awake")
WEIGHTS_POINTS = ("claim", "number", "payload", "version", "checksum", "published")

_ONCE = {"epoch"}  # points that a victim passes once; the others several times
_CPU_LIMIT_S = 20  # for a victim that never comes to its point
_NAP_S = 0.0005


class Fate:
    """Ends this process when it comes to a point for the (others + 1)-th time."""

    def __init__(self, point, others):
        self.point, self._others = point, others

    def here(self, point):
        if point == self.point:
            if self._others == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._others -= 1


class FatalWords:
    """Shared words; each store is a point."""

    def __init__(self, words, name_of, fate):
        self._words, self._name_of, self._fate = words, name_of, fate

    def __getitem__(self, index):
        return self._words[index]

    def __setitem__(self, index, value):
        self._fate.here(self._name_of(index))
        self._words[index] = value


class FatalBell:
    """A doorbell that may not be survived."""

    def __init__(self, bell, fate):
        self._bell, self._fate = bell, fate

    def notify(self):
        self._fate.here("bell")
        self._bell.notify()

    def wait(self, timeout_s):
        self._fate.here("falling asleep")
        if self._fate.point == "asleep":
            signal.setitimer(signal.ITIMER_REAL, _NAP_S)  # the default action of its signal: death, in the semaphore
        heard = self._bell.wait(timeout_s)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if heard:
            self._fate.here("awake")
        return heard


def ring_names(spec, names):
    """The name of a word of a ring's segment: of `names`, or of a slot's header."""
    slot_words = spec.slot_bytes // 8
    header = {ring_words.SEQUENCE: "sequence", ring_words.SLOT_EPOCH: "slot epoch", ring_words.CHECKSUM: "checksum"}

    def name_of(index):
        if index < ring_words.CONTROL_WORDS:
            return names.get(index)
        return header.get((index - ring_words.CONTROL_WORDS) % slot_words)

    return name_of


def attach(setup, names, fate, *, end, waits_on):
    """An end of the ring, and the bell that it waits on; both may be fatal."""
    ring = Ring.attach(setup.run, setup.ring)
    ring.words = FatalWords(ring.words, ring_names(setup.ring, names), fate)
    taken = getattr(ring, end)()
    taken._other_bell = FatalBell(taken._other_bell, fate)
    return taken, FatalBell(setup.bell(waits_on), fate)


def producer(setup, fate):
    claim = ring_words.PRODUCER_CLAIM
    names = {claim: "claim", claim + 1: "claim", ring_words.EPOCH: "epoch"}
    names |= {ring_words.WRITING: "writing", ring_words.HEAD: "head"}
    end, bell = attach(setup, names, fate, end="producer", waits_on="space")
    body = np.arange(setup.body_words)
    while True:
        message = Message(pattern(setup.body_words, end.published, end.epoch), end.published, end.epoch)
        record = wait_for(end.begin, bell)
        assert record is not None, "nobody reads"
        record.number[...], record.epoch[...] = message.number, message.epoch
        for part in np.array_split(body, 4):
            fate.here("payload")
            record.body[part] = message.body[part]
        end.commit()


def consumer(setup, fate):
    claim = ring_words.CONSUMER_CLAIM
    names = {claim: "claim", claim + 1: "claim", ring_words.READING: "reading", ring_words.TAIL: "tail"}
    names |= {ring_words.BANKS + word: "bank" for word in range(2 * ring_words.BANK_WORDS)}
    end, bell = attach(setup, names, fate, end="consumer", waits_on="items")
    while True:
        record = wait_for(end.begin, bell)
        assert record is not None and record.number == end.consumed, "nobody writes, or not in order"
        assert np.array_equal(record.body, pattern(setup.body_words, record.number, record.epoch)), "torn"
        fate.here("payload")
        end.release()


def weights_writer(setup, fate):
    spec = setup.weights
    slots = WeightSlots.attach(setup.run, spec, writable=True)
    claim = weight_words.WRITER_CLAIM
    control = {claim: "claim", claim + 1: "claim", weight_words.PUBLISHED: "published"}
    header = {weight_words.NUMBER: "number", weight_words.VERSION: "version", weight_words.CHECKSUM: "checksum"}

    def name_of(index):
        if index < weight_words.CONTROL_WORDS:
            return control.get(index)
        return header.get((index - weight_words.CONTROL_WORDS) % (spec.slot_bytes // 8))

    plain = slots.slot_payload
    slots.words = FatalWords(slots.words, name_of, fate)
    slots.slot_payload = lambda slot: GatedArray.of(plain(slot), lambda: fate.here("payload"))
    writer = slots.writer()
    while True:
        version = slots.words[weight_words.PUBLISHED] + 1
        writer.publish(version, version_words(setup.weight_words, version))


VICTIMS = {
    "producer": (producer, PRODUCER_POINTS),
    "consumer": (consumer, CONSUMER_POINTS),
    "weights_writer": (weights_writer, WEIGHTS_POINTS),
}


def victims(setup, *, of, kills, seed):
    """`kills` deaths at each point, by turns. The next victim takes over at once."""
    victim, points = VICTIMS[of]
    rng = random.Random(seed)
    for _ in range(kills):
        for point in points:
            others = 0 if point in _ONCE else rng.randrange(3)
            if (pid := os.fork()) == 0:
                die_with(os.getppid())
                resource.setrlimit(resource.RLIMIT_CPU, (_CPU_LIMIT_S, _CPU_LIMIT_S))
                victim(setup, Fate(point, others))
            _, status = os.waitpid(pid, 0)
            expected = signal.SIGALRM if point == "asleep" else signal.SIGKILL
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == expected, (point, status)


if __name__ == "__main__":
    main(victims)
