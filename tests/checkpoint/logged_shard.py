"""A shard of random rows with its log, a disk that fails on demand, and what the shard held at every checkpoint."""

import contextlib
import errno
import os
import shutil

import numpy as np
import pytest

from speedyzero.checkpoint.manifest import STATE_FILE, checkpoint_dir, entry_of, write_manifest
from speedyzero.checkpoint.replay_log import ReplayLog, SavedRows
from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.env.base import ObservationSpec
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.topology.records import StepRecord

ROWS = 24
COUNTED = ("largest_priority", "env_steps")  # not among the rows


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


class LoggedShard:
    """`saved`: every checkpoint that is kept with its rows' description and the arrays that they stand for."""

    def __init__(self, run_dir, *, seed=0, index=0, **shape):
        self.run_dir, self.index = run_dir, index
        self.shard, self.rng = make_shard(**shape), np.random.default_rng(seed)
        self.saved, self.saves = [], 0
        self.log = ReplayLog.open(run_dir, self.shard, index=index)

    def append(self, ticks=1, *, actor=0):
        for _ in range(ticks):
            self.shard.append(random_tick(self.shard, self.rng, first=self.shard.ticks[actor] == 0), actor=actor)
            self.log.append(actor=actor)

    def cut_off(self, *, actor=0):
        self.shard.cut_off(actor=actor)
        self.log.cut_off(actor=actor)

    def save(self):
        """A checkpoint of nothing but the rows; the blocks that it lists."""
        entries = self.log.sync()
        self.saves += 1
        directory = checkpoint_dir(self.run_dir, self.saves)
        directory.mkdir(parents=True)
        write_manifest(directory, {STATE_FILE: entry_of(b""), **entries})
        self.saved.append((directory, self.log.description(), contents(self.shard)))
        return set(entries)

    def drop(self, number):
        """Delete a checkpoint."""
        directory, _, _ = self.saved.pop(number)
        shutil.rmtree(directory)

    def reopen(self):
        """The writer dies and a successor continues with the same shard."""
        self.log.close()
        self.shard = Shard(self.shard.shape, {name: getattr(self.shard, name) for name in self.shard.shape.fields()})
        self.log = ReplayLog.open(self.run_dir, self.shard, index=self.index)

    def resume(self, number):
        """The whole run dies and continues from a checkpoint; later ones are gone."""
        self.log.close()
        while len(self.saved) > number + 1:
            self.drop(-1)
        self.shard, written = self.restored(number)
        self.log = ReplayLog(self.run_dir, self.shard, index=self.index, written=written)

    def restored(self, number, shard=None):
        """A shard like the saved one, and what `restore` returned."""
        directory, description, _ = self.saved[number]
        shard = Shard(self.shard.shape) if shard is None else shard
        return shard, SavedRows.of(Checkpoint(directory), self.index, description).restore(shard)

    def assert_all_restore(self):
        for number, (_, _, expected) in enumerate(self.saved):
            found = contents(self.restored(number)[0])
            assert [name for name in expected if expected[name] != found[name]] == []


class FailingDisk:
    """Every fsync fails while it is full; one that breaks fails a single time and loses the file."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.is_full, self.is_broken = False, False
        self._really_sync = os.fsync
        patch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor):
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.is_broken:
            self.is_broken = False
            with contextlib.suppress(OSError):  # of a directory
                os.ftruncate(descriptor, 0)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
