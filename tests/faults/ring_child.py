"""The processes that the ring's fault tests start and kill: `python -m tests.faults.ring_child ROLE CONFIG`.

A child waits for a line on stdin before it begins, so that it can stand by while its predecessor is killed. It never
outlives the process that started it. Those that die at chosen points of a ring: `ring_points.py`.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speedyzero.shm import (
    Board,
    BoardSpec,
    Doorbell,
    Field,
    RecordLayout,
    Ring,
    RingSpec,
    Run,
    SharedArrays,
    SharedArraysSpec,
    WeightSlots,
    WeightSlotsSpec,
    remove_run,
    sweep_dead_runs,
)
from speedyzero.shm.ring import PRODUCER_CLAIM
from speedyzero.shm.weight_slots import PUBLISHED

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0  # far beyond any wait that succeeds
SIZES = ("body_words", "slots", "weight_words")
ARRAYS = SharedArraysSpec("arrays", (("count", Field("uint8", (1,))),))
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Message:
    body: np.ndarray  # [words] uint64, a pattern of number and epoch
    number: int
    epoch: int


@dataclass(frozen=True)
class Setup:
    """What a test and its children agree on."""

    run: Run
    body_words: int = 16
    slots: int = 8
    weight_words: int = 1

    @property
    def ring(self):
        body = Field("uint64", (self.body_words,))
        layout = RecordLayout.stored(Message, {}, body=body, number=Field("int64"), epoch=Field("int64"))
        return RingSpec("messages", layout, self.slots, producer_bell="space", consumer_bell="items")

    def create_ring(self):
        """With the bells of both ends."""
        for bell in ("space", "items"):
            Doorbell.create(self.run, bell)
        return Ring.create(self.run, self.ring)

    def bell(self, name):
        return Doorbell.attach(self.run, name)

    @property
    def board(self):
        return BoardSpec("board", ("test", "child"), ("committed", "dropped"))

    @property
    def weights(self):
        return WeightSlotsSpec("weights", 8 * self.weight_words)


def pattern(words, *stamps):
    """[words] uint64 that differ in every place from those of other stamps."""
    mixed = np.uint64(sum(stamp * 0x9E3779B97F4A7C15**i for i, stamp in enumerate(stamps, 1)) % 2**64)
    return (np.arange(words, dtype=np.uint64) + mixed) * np.uint64(0xD1342543DE82EF95) + mixed


def version_words(words, version):
    """[words] uint64, all equal: cheap to make, so that publications follow one another fast."""
    return np.full(words, version * 0x9E3779B97F4A7C15 % 2**64, np.uint64)


def wait_for(take, bell, wait_s=WAIT_S):
    """What `take()` returns, called after each notification and slice until it returns something; None: in vain."""
    deadline = time.monotonic() + wait_s
    while (taken := take()) is None and (left_s := deadline - time.monotonic()) > 0:
        bell.wait(left_s)
    return taken


class Child:
    """One such process, seen by the test."""

    def __init__(self, role, setup, *, module="ring_child", **config):
        config |= {"run_id": setup.run.run_id, "shm_dir": setup.run.shm_dir}
        config |= {name: getattr(setup, name) for name in SIZES}
        command = [sys.executable, "-m", f"tests.faults.{module}", role, json.dumps(config)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def go(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def line(self):
        """The next line that it prints."""
        return self.process.stdout.readline().decode().strip()

    @property
    def running(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()

    def wait(self):
        """Its exit status, once it has ended."""
        try:
            return self.process.wait(WAIT_S)
        finally:
            self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def until(done, step=lambda: time.sleep(0.001)):
    """Take steps until `done()`; a planted bug that stops all progress fails instead of hanging."""
    deadline = time.monotonic() + 2 * WAIT_S
    while not done():
        step()
        assert time.monotonic() < deadline, "nothing moves any more"


def produce(setup, *, count, drop_every=0):
    """Write `count` messages; every `drop_every`-th one is dropped if the ring is full."""
    producer = Ring.attach(setup.run, setup.ring).producer()
    row, bell = Board.attach(setup.run, setup.board).row("child"), setup.bell("space")
    number = producer.published
    for i in range(count):
        body = pattern(setup.body_words, number, producer.epoch)
        if drop_every and i % drop_every == 0:
            written = producer.put_or_drop(Message(body, number, producer.epoch))
            row.add("committed" if written else "dropped")
            number += written
            continue
        record = wait_for(producer.begin, bell)
        assert record is not None, "nobody reads"
        record.body[:] = body
        record.number[...], record.epoch[...] = number, producer.epoch
        producer.commit()
        row.add("committed")
        number += 1


def publish(setup):
    """Publish versions as fast as possible."""
    slots = WeightSlots.attach(setup.run, setup.weights, writable=True)
    writer = slots.writer()
    while True:
        version = slots.words[PUBLISHED] + 1
        writer.publish(version, version_words(setup.weight_words, version))


def litter(setup, *, on_disk=""):
    """Make a run with one of everything, name it, and wait to be killed; at each line on stdin, make all anew."""
    run = Run.new(on_disk or None)
    print(run.run_id, flush=True)
    own = Setup(run)
    while True:
        own.create_ring(), Board.create(run, own.board), WeightSlots.create(run, own.weights)
        SharedArrays.create(run, ARRAYS)
        print("made", flush=True)
        sys.stdin.readline()
        remove_run(run)


def own_run(setup, *, tag, count):
    """A run of its own with a producer of its own, beside others that use the same names; it reads only its own."""
    sweep_dead_runs()
    own = Setup(Run.new(), body_words=setup.body_words)
    try:
        ring, board = own.create_ring(), Board.create(own.run, own.board)
        weights = WeightSlots.create(own.run, own.weights)
        weights.writer().publish(tag, np.array([tag], np.uint64))
        child = Child("produce", own, count=count)
        child.go()
        consumer, bell, producer_pid = ring.consumer(), own.bell("items"), child.process.pid
        for number in range(count):
            record = wait_for(consumer.get, bell)
            assert record is not None and (record.number, record.epoch) == (number, 1)
            assert np.array_equal(record.body, pattern(own.body_words, number, 1))
        assert child.wait() == 0 and ring.words[PRODUCER_CLAIM] == producer_pid
        assert board.counter("child", "committed") == count == ring.stats().consumed
        publication = WeightSlots.attach(own.run, own.weights).reader().read()
        assert publication is not None and publication.version == tag
        sweep_dead_runs()
        Ring.attach(own.run, own.ring)
    finally:
        remove_run(own.run)


def die_with(parent):
    """Ask the kernel for SIGKILL at the parent's death."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before it could be followed


def main(*roles):
    """Play the one that the command line names."""
    name, config = sys.argv[1], json.loads(sys.argv[2])
    die_with(os.getppid())
    run = Run(config.pop("run_id"), config.pop("shm_dir"))
    sizes = {name: config.pop(name) for name in SIZES}
    assert "torch" not in sys.modules
    sys.stdin.readline()
    {role.__name__: role for role in roles}[name](Setup(run, **sizes), **config)


if __name__ == "__main__":
    main(produce, publish, litter, own_run)
