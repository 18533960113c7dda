import numpy as np
import pytest

from speedyzero.shm import Field, SegmentError, SharedArrays, SharedArraysSpec
from speedyzero.shm.liveness import process_of

FIELDS = (("frame", Field("uint8", (3, 50, 33))), ("reward", Field("float32", (3, 50))), ("head", Field("uint64")))
SPEC = SharedArraysSpec("shard", FIELDS)


def test_one_writes_the_others_read_in_place(run):
    created = SharedArrays.create(run, SPEC)
    assert SPEC.total_bytes == (run.directory / run.object_name("shard")).stat().st_size
    writer, reader = SharedArrays.attach(run, SPEC, writable=True), SharedArrays.attach(run, SPEC)
    for name, field in FIELDS:
        assert reader[name].shape == field.shape and reader[name].dtype == field.dtype
        assert not reader[name].any() and reader[name].ctypes.data % 4096 == 0
    rng = np.random.default_rng(0)
    writer["frame"][:] = rng.integers(0, 256, (3, 50, 33), np.uint8)
    writer["reward"][1, 2] = 0.5
    writer["head"][...] = 7
    for other in (created, reader):
        assert all(np.array_equal(other[name], writer[name]) for name, _ in FIELDS)
        with pytest.raises(ValueError, match="read-only"):
            other["reward"][0, 0] = 1


def test_one_living_writer(run):
    words = SharedArrays.create(run, SPEC).words
    words[0], words[1] = 1, process_of(1).start_ticks
    with pytest.raises(ValueError, match="arrays shard has one writer"):
        SharedArrays.attach(run, SPEC, writable=True)


def test_what_does_not_fit(run):
    SharedArrays.create(run, SPEC)
    with pytest.raises(SegmentError):
        SharedArrays.attach(run, SharedArraysSpec("shard", tuple(reversed(FIELDS))))
