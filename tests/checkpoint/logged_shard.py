"""A shard of random rows with its log, a disk that fails on demand, and what the shard held at every position."""

import contextlib
import errno
import os

import numpy as np
import pytest

from speedyzero.checkpoint.log_reader import restore
from speedyzero.checkpoint.replay_log import ReplayLog
from speedyzero.env.base import ObservationSpec
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.topology.records import StepRecord

ROWS = 24
COUNTED = ("largest_priority", "env_steps")  # a checkpoint has them


def make_shard(*, actors=2, lanes=2, rows=ROWS, frame=(3,), dtype=np.uint8) -> Shard:
    """lanes: of each actor."""
    spec = ObservationSpec(frame, np.dtype(dtype))
    shape = ShardShape(lanes=actors * lanes, rows=rows, spec=spec, num_actions=3, stack=2, lookahead=4, actors=actors)
    return Shard(shape)


def random_tick(shard: Shard, rng: np.random.Generator, *, first: bool) -> StepRecord:
    """Any bits at all in every field; a lane's first row begins a game."""
    arrays = {}
    for name, (dtype, size) in shard.shape.fields().items():
        if name in StepRecord.__dataclass_fields__:
            shape = (shard.lanes // shard.shape.actors, *size[2:])
            if dtype == "?":
                arrays[name] = rng.random(shape) < 0.3
            else:
                count = int(np.prod(shape)) * np.dtype(dtype).itemsize
                arrays[name] = rng.integers(0, 256, count, np.uint8).view(dtype).reshape(shape)
    arrays["first"] |= first
    return StepRecord(**arrays)


def contents(shard: Shard) -> dict[str, bytes]:
    """Every array to the bit, the heads included."""
    arrays = {name: getattr(shard, name) for name in shard.shape.fields() if name not in COUNTED}
    return {name: array.tobytes() for name, array in {**arrays, "head": shard.head}.items()}


def assert_restores(directory, position, expected, *, like: Shard) -> None:
    shard = Shard(like.shape)
    restore(directory, position, shard)
    found = contents(shard)
    assert [name for name in expected if expected[name] != found[name]] == []


class LoggedShard:
    """`synced`: every position with the arrays that it stands for."""

    def __init__(self, directory, *, seed=0, segment_bytes=900, **shape):
        self.directory, self.segment_bytes = directory, segment_bytes
        self.shard, self.rng = make_shard(**shape), np.random.default_rng(seed)
        self.synced = []
        self.log = ReplayLog.open(directory, self.shard, segment_bytes=segment_bytes)

    def append(self, ticks=1, *, actor=0):
        for _ in range(ticks):
            self.shard.append(random_tick(self.shard, self.rng, first=self.shard.ticks[actor] == 0), actor=actor)
            self.log.append(actor=actor)

    def cut_off(self, *, actor=0):
        self.shard.cut_off(actor=actor)
        self.log.cut_off(actor=actor)

    def sync(self):
        position = self.log.sync()
        self.synced.append((position, contents(self.shard)))
        return position

    def reopen(self):
        """The writer dies and a successor goes on with the same shard."""
        self.log.close()
        self.shard = Shard(self.shard.shape, {name: getattr(self.shard, name) for name in self.shard.shape.fields()})
        self.log = ReplayLog.open(self.directory, self.shard, segment_bytes=self.segment_bytes)

    def resume(self, number):
        """The whole run dies and goes on from a position."""
        self.log.close()
        del self.synced[number + 1 :]
        position, _ = self.synced[number]
        shard = Shard(self.shard.shape)
        restore(self.directory, position, shard)
        self.shard = shard
        self.log = ReplayLog.resume(self.directory, shard, position, segment_bytes=self.segment_bytes)

    def assert_all_restore(self):
        for position, expected in self.synced:
            assert_restores(self.directory, position, expected, like=self.shard)


class FailingDisk:
    """Writes that stop half-way while it is full; forcing that fails once and takes what was not forced with it."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.is_full, self.is_broken, self.has_failed = False, False, False
        self._forced_bytes = {}  # by inode
        self._pwrite, self._write = os.pwrite, os.write
        patch.setattr(os, "pwrite", self._pwrite_half)
        patch.setattr(os, "fsync", self._fsync)

    def _pwrite_half(self, descriptor, content, offset):
        if self.is_full:
            self._pwrite(descriptor, content[: len(content) // 2], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._pwrite(descriptor, content, offset)

    def _fsync(self, descriptor):
        status = os.fstat(descriptor)
        forced = self._forced_bytes.get(status.st_ino, 0)
        if self.is_broken:
            self.is_broken, self.has_failed = False, True
            with contextlib.suppress(OSError):  # of a descriptor that is for reading, a directory's
                self._pwrite(descriptor, bytes(max(0, status.st_size - forced)), forced)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._forced_bytes[status.st_ino] = status.st_size
