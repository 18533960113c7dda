import os
import platform
import stat
import subprocess
import sys

import numpy as np
import pytest

from speedyzero.shm import Run, Segment, SegmentError, SegmentKind, current_process, free_bytes, require_space
from speedyzero.shm import segment as segment_module
from speedyzero.shm.segment import HEADER_BYTES

KIND = SegmentKind("ring", 0x1234, 10_000)


@pytest.fixture(params=["run", "disk_run"])
def either_run(request):
    return request.getfixturevalue(request.param)


def path_of(run, name):
    return run.directory / run.object_name(name)


def test_what_one_writes_the_other_reads(either_run):
    made = Segment.create(either_run, "a", KIND)
    assert not made.payload.any()
    attached = Segment.attach(either_run, "a", KIND)
    made.payload[::7] = 5
    assert np.array_equal(attached.payload, made.payload)
    assert attached.creator == current_process()
    attached.words()[1] = 2**63
    assert made.words()[1] == 2**63


def test_mode_owner_and_size_whatever_the_umask(either_run):
    before = os.umask(0o277)
    try:
        Segment.create(either_run, "a", KIND)
    finally:
        os.umask(before)
    status = path_of(either_run, "a").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == os.geteuid()
    assert status.st_size == HEADER_BYTES + KIND.payload_bytes
    assert status.st_blocks * 512 >= status.st_size, "all pages must be allocated"


def test_a_name_is_made_once_and_must_exist(either_run):
    first = Segment.create(either_run, "a", KIND)
    first.payload[:] = 9
    with pytest.raises(SegmentError, match="exists already"):
        Segment.create(either_run, "a", SegmentKind("ring", 0x1234, 20_000))
    assert path_of(either_run, "a").stat().st_size == HEADER_BYTES + KIND.payload_bytes and (first.payload == 9).all()
    with pytest.raises(SegmentError, match="does not exist"):
        Segment.attach(either_run, "b", KIND)
    first.unlink()
    first.unlink()
    assert (first.payload == 9).all(), "those attached keep their mapping"


@pytest.mark.parametrize(
    "other", [SegmentKind("board", 0x1234, 10_000), SegmentKind("ring", 1, 10_000), SegmentKind("ring", 0x1234, 9_999)]
)
def test_another_description_is_refused(run, other):
    Segment.create(run, "a", KIND)
    with pytest.raises(SegmentError, match="this process expects"):
        Segment.attach(run, "a", other)


def test_every_header_field_is_checked(run):
    path = path_of(run, "a")
    segment = Segment.create(run, "a", KIND)
    good = path.read_bytes()
    for offset in (0, 8, 16, 24, 48, 60, 184):  # magic, version, size, uid, schema, run id, kind
        bad = bytearray(good)
        bad[offset] ^= 1
        path.write_bytes(bad)
        with pytest.raises(SegmentError):
            Segment.attach(run, "a", KIND)
    for bad in (good[:-1], good + b"x", good[:100], b""):
        path.write_bytes(bad)
        with pytest.raises(SegmentError):
            Segment.attach(run, "a", KIND)
    path.write_bytes(good)
    Segment.attach(run, "a", KIND)
    segment.unlink()


def test_an_unfinished_segment_is_refused(run):
    Segment.create(run, "a", KIND)
    path = path_of(run, "a")
    path.write_bytes(bytes(path.stat().st_size))  # its maker died before the magic
    with pytest.raises(SegmentError, match="not finished"):
        Segment.attach(run, "a", KIND)


def test_a_loose_mode_and_a_link_are_refused(run, disk_run):
    Segment.create(run, "a", KIND)
    path_of(run, "a").chmod(0o644)
    with pytest.raises(SegmentError, match="mode 644"):
        Segment.attach(run, "a", KIND)
    Segment.create(disk_run, "a", KIND)
    os.rename(path_of(disk_run, "a"), path_of(disk_run, "b"))
    os.symlink(path_of(disk_run, "b"), path_of(disk_run, "a"))
    with pytest.raises(SegmentError, match="symbolic link"):
        Segment.attach(disk_run, "a", KIND)


def test_read_only_attach_cannot_write(run):
    Segment.create(run, "a", KIND)
    reader = Segment.attach(run, "a", KIND, writable=False)
    with pytest.raises(ValueError):
        reader.payload[0] = 1
    with pytest.raises(TypeError):
        reader.words()[0] = 1


def test_too_little_space_names_both_numbers_and_leaves_nothing(run):
    needed = free_bytes(run) * 2
    with pytest.raises(SegmentError, match=rf"{needed:,} bytes.* free .*--shm-size.*shm_dir="):
        require_space(run, needed)
    with pytest.raises(SegmentError, match=rf"{needed + HEADER_BYTES:,} bytes.* free .*--shm-size.*shm_dir="):
        Segment.create(run, "a", SegmentKind("ring", 0, needed), prefault=False)
    assert not path_of(run, "a").exists()
    require_space(run, 1)


_FILE_LIMIT = """
import resource, sys
from speedyzero.shm import Run, Segment, SegmentError, SegmentKind
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
run = Run.new(sys.argv[1])
try:
    Segment.create(run, "a", SegmentKind("ring", 0, 2 << 20))
except SegmentError as error:
    assert f"{(2 << 20) + 4096:,} bytes" in str(error), error
    print("refused")
"""


def test_a_limit_on_file_size_is_an_error_not_a_signal(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", _FILE_LIMIT, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (child.returncode, child.stdout) == (0, "refused\n"), child.stderr
    assert not list(tmp_path.iterdir())


def test_prefault_where_the_kernel_cannot_populate(run, monkeypatch):
    monkeypatch.setattr(segment_module, "_MADV_POPULATE_WRITE", 99)
    assert Segment.create(run, "a", KIND).payload.size == KIND.payload_bytes


def test_other_machines_are_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(ValueError, match="x86-64 only: this is Linux aarch64"):
        Run.new()


def test_close_with_views_held_keeps_the_mapping(run):
    segment = Segment.create(run, "a", KIND)
    view = segment.payload[:10]
    segment.close()
    view[:] = 3
    assert view.sum() == 30
