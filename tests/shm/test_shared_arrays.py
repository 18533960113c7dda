import numpy as np
import pytest

from speedyzero.shm import Field, SegmentError, SharedArrays, SharedArraysSpec

SPEC = SharedArraysSpec.of(
    "shard", frame=Field("uint8", (3, 50, 33)), reward=Field("float32", (3, 50)), head=Field("uint64")
)


def test_one_writes_the_other_reads_in_place(run):
    writer = SharedArrays.create(run, SPEC, writable=True)
    reader = SharedArrays.attach(run, SPEC)
    for name, field in SPEC.fields:
        assert reader[name].shape == field.shape and reader[name].dtype == field.dtype
        assert not reader[name].any() and reader[name].ctypes.data % 4096 == 0
    rng = np.random.default_rng(0)
    writer["frame"][:] = rng.integers(0, 256, (3, 50, 33), np.uint8)
    writer["reward"][1, 2] = 0.5
    writer["head"][...] = 7
    assert all(np.array_equal(reader[name], writer[name]) for name, _ in SPEC.fields)
    with pytest.raises(ValueError, match="read-only"):
        reader["reward"][0, 0] = 1


def test_the_maker_does_not_write_unless_it_says_so(run):
    made = SharedArrays.create(run, SPEC)
    assert not made["frame"].flags.writeable
    writer = SharedArrays.attach(run, SPEC, writable=True)
    writer["frame"][2, 49, 32] = 1
    assert made["frame"].sum() == 1


def test_one_living_writer(run):
    arrays = SharedArrays.create(run, SPEC, writable=True)
    words = arrays._segment.words()
    words[0], words[1] = 1, _start_of(1)
    with pytest.raises(ValueError, match="arrays shard has one writer"):
        SharedArrays.attach(run, SPEC, writable=True)


def _start_of(pid):
    from speedyzero.shm import process_of

    return process_of(pid).start_ticks


def test_what_does_not_fit(run):
    SharedArrays.create(run, SPEC)
    other = SharedArraysSpec("shard", tuple(reversed(SPEC.fields)))
    with pytest.raises(SegmentError):
        SharedArrays.attach(run, other)
    with pytest.raises(ValueError, match="each once"):
        SharedArraysSpec("x", (("a", Field("uint8")), ("a", Field("uint8"))))


def test_size(run):
    SharedArrays.create(run, SPEC)
    assert SPEC.total_bytes == (run.directory / run.object_name("shard")).stat().st_size
