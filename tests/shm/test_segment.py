import os
import platform
import resource
import stat
from dataclasses import dataclass

import numpy as np
import pytest

from speedyzero.shm import Run, SegmentError, require_space
from speedyzero.shm import segment as segment_module
from speedyzero.shm.segment import HEADER_BYTES, Segment, SegmentKind, SegmentSpec, free_bytes


@dataclass(frozen=True)
class Block(SegmentSpec):
    kind: SegmentKind = SegmentKind("ring", 0x1234, 10_000)
    name: str = "a"


@pytest.fixture(params=["run", "disk_run"])
def either_run(request):
    return request.getfixturevalue(request.param)


def path_of(run):
    return run.directory / run.object_name("a")


def test_what_one_writes_the_other_reads(either_run):
    created = Segment.create(either_run, Block())
    assert not created.payload.any() and created.payload.size == 10_000
    attached = Segment.attach(either_run, Block())
    created.payload[::7] = 5
    assert np.array_equal(attached.payload, created.payload)
    attached.words[1] = 2**63
    assert created.words[1] == 2**63


def test_mode_owner_and_size_whatever_the_umask(either_run):
    before = os.umask(0o277)
    try:
        Segment.create(either_run, Block())
    finally:
        os.umask(before)
    status = path_of(either_run).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == os.geteuid()
    assert status.st_size == HEADER_BYTES + 10_000 == Block().total_bytes
    assert status.st_blocks * 512 >= status.st_size, "all pages must be allocated"


def test_a_name_is_created_once_and_must_exist(either_run):
    with pytest.raises(SegmentError, match="No such file"):
        Segment.attach(either_run, Block())
    first = Segment.create(either_run, Block())
    first.payload[:] = 9
    with pytest.raises(SegmentError, match="File exists"):
        Segment.create(either_run, Block(SegmentKind("ring", 0x1234, 20_000)))
    assert path_of(either_run).stat().st_size == Block().total_bytes and (first.payload == 9).all()


@pytest.mark.parametrize(
    "other", [SegmentKind("board", 0x1234, 10_000), SegmentKind("ring", 1, 10_000), SegmentKind("ring", 0x1234, 9_992)]
)
def test_another_description_is_refused(run, other):
    Segment.create(run, Block())
    with pytest.raises(SegmentError, match="this process expects"):
        Segment.attach(run, Block(other))


def test_every_header_field_is_checked(run):
    path = path_of(run)
    Segment.create(run, Block())
    good = path.read_bytes()
    for offset in (0, 8, 16, 24, 32, 44, 168):  # magic, version, size, uid, schema, run id, kind
        bad = bytearray(good)
        bad[offset] ^= 1
        path.write_bytes(bad)
        with pytest.raises(SegmentError):
            Segment.attach(run, Block())
    for bad in (good[:-1], good + b"x", good[:100], b"", bytes(len(good))):  # the last: died before the magic
        path.write_bytes(bad)
        with pytest.raises(SegmentError):
            Segment.attach(run, Block())
    path.write_bytes(good)
    Segment.attach(run, Block())


def test_a_loose_mode_and_a_link_are_refused(run, disk_run):
    Segment.create(run, Block())
    path_of(run).chmod(0o644)
    with pytest.raises(SegmentError, match="mode 644"):
        Segment.attach(run, Block())
    Segment.create(disk_run, Block())
    moved = path_of(disk_run).rename(disk_run.directory / "moved")
    path_of(disk_run).symlink_to(moved)
    with pytest.raises(SegmentError, match="symbolic link"):
        Segment.attach(disk_run, Block())


def test_read_only_attach_cannot_write(run):
    Segment.create(run, Block())
    reader = Segment.attach(run, Block(), writable=False)
    with pytest.raises(ValueError):
        reader.payload[0] = 1
    with pytest.raises(TypeError):
        reader.words[0] = 1


def test_too_little_space_names_both_numbers_and_leaves_nothing(run):
    needed = free_bytes(run) * 2
    with pytest.raises(SegmentError, match=rf"{needed:,} bytes.* free .*--shm-size.*shm_dir="):
        require_space(run, needed)
    with pytest.raises(SegmentError, match=rf"{needed + HEADER_BYTES:,} bytes.* free .*--shm-size.*shm_dir="):
        Segment.create(run, Block(SegmentKind("ring", 0, needed)))
    assert not path_of(run).exists()
    require_space(run, 1)


def test_a_limit_on_file_size_is_an_error_not_a_signal(disk_run):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(SegmentError, match=f"{(2 << 20) + HEADER_BYTES:,} bytes"):
            Segment.create(disk_run, Block(SegmentKind("ring", 0, 2 << 20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(disk_run.directory.iterdir())


def test_attaching_where_the_kernel_cannot_populate(run, monkeypatch):
    monkeypatch.setattr(segment_module, "_MADV_POPULATE_WRITE", 99)
    Segment.create(run, Block())
    assert Segment.attach(run, Block()).payload.size == 10_000


def test_other_machines_are_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ValueError, match="x86-64 only: this is Linux aarch64"):
        Run.new()


def test_close_with_views_held_keeps_the_mapping(run):
    segment = Segment.create(run, Block())
    view = segment.payload[:10]
    segment.close()
    view[:] = 3
    assert view.sum() == 30
