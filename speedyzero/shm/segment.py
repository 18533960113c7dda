"""A shared block of bytes with a header that identifies its content and owner.

    page 0   magic | layout version | payload bytes | owner uid | schema | run id | kind
    page 1.. payload, initially zero

The magic is written last, so an unfinished segment is refused. A segment is created once (`O_EXCL`), with mode 0600 and
its pages allocated (`posix_fallocate`: a full /dev/shm is an error now, not a SIGBUS later). Attaching takes the size
from the file and checks every field.
"""

import errno
import mmap
import os
import stat
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import numpy as np

from speedyzero.shm.run import Run

MAGIC = int.from_bytes(b"SPZSHM\r\n", "little")
LAYOUT_VERSION = 2
HEADER_BYTES = 4096
CACHE_LINE_BYTES = 64

_WORDS = ("magic", "layout_version", "payload_bytes", "uid", "schema")
_HEADER = np.dtype([*((name, "u8") for name in _WORDS), ("run_id", "S128"), ("kind", "S32")])
# Linux 5.14 and later; missing in the mmap module.
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23


class SegmentError(ValueError):
    """A shared object cannot be created, or differs from what was expected."""


@dataclass(frozen=True)
class SegmentKind:
    """The content of a segment, which creator and users must agree on."""

    kind: str  # ring, weights, board, arrays
    schema: int  # 64-bit digest of the description of the payload
    payload_bytes: int  # a multiple of 8


class SegmentSpec(ABC):
    """What a segment is. Picklable; its creator and those that attach give equal ones."""

    name: str

    @property
    @abstractmethod
    def kind(self) -> SegmentKind: ...

    @property
    def total_bytes(self) -> int:
        """Shared memory used."""
        return HEADER_BYTES + self.kind.payload_bytes


Spec = TypeVar("Spec", bound=SegmentSpec)


class Segment(Generic[Spec]):
    """A mapped segment.

    payload: [payload_bytes] uint8, 4096-byte aligned. words: the same, for cheap aligned 8-byte loads and stores.
    """

    def __init__(self, run: Run, spec: Spec, memory: mmap.mmap):
        self.run, self.spec, self._memory = run, spec, memory
        self.payload = np.frombuffer(memory, np.uint8, offset=HEADER_BYTES)
        self.words = memoryview(memory)[HEADER_BYTES:].cast("Q")

    @classmethod
    def create(cls, run: Run, spec: Spec) -> Self:
        """Create the segment, with all pages allocated and the payload zero.

        Raises:
            SegmentError: the name exists, or there is too little space (with both numbers).
        """
        path = _path(run, spec)
        fd = _open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, 0o600)  # independent of the umask
            _allocate(fd, run, spec)
            memory = mmap.mmap(fd, spec.total_bytes)
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        header = np.frombuffer(memory, _HEADER, 1)
        for field, value in _header_of(run, spec.kind).items():
            header[field] = value
        header["magic"] = MAGIC
        return cls(run, spec, memory)

    @classmethod
    def attach(cls, run: Run, spec: Spec, *, writable: bool = True) -> Self:
        """Map a segment that another process created, with its pages. writable=False: read-only.

        Raises:
            SegmentError: it does not exist, or it differs from `spec`.
        """
        path = _path(run, spec)
        fd = _open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            _check_file(fd, path)
            memory = mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        _check_header(memory, run, spec)
        _prefault(memory, writable=writable)
        return cls(run, spec, memory)

    def close(self) -> None:
        """Release the mapping; views that still exist keep it alive."""
        self.payload, self.words = np.empty(0, np.uint8), memoryview(b"")
        with suppress(BufferError):  # unmapped when the last view is freed
            self._memory.close()


def free_bytes(run: Run) -> int:
    """Bytes available to segments of this run."""
    status = os.statvfs(run.directory)
    return status.f_bavail * status.f_frsize


def require_space(run: Run, needed_bytes: int) -> None:
    """Check that a run fits, before anything of it starts.

    Raises:
        SegmentError: with both numbers and the remedies.
    """
    free = free_bytes(run)
    if needed_bytes > free:
        raise SegmentError(_no_space(run, "this run", needed_bytes, free))


def _no_space(run: Run, what: str, needed_bytes: int, free: int) -> str:
    way_out = (
        "set shm_dir= to a directory with more space"
        if run.shm_dir
        else "enlarge it (docker run --shm-size=..., mount -o remount,size=... /dev/shm) "
        "or set shm_dir= to a directory on disk"
    )
    return (
        f"{what} needs {needed_bytes:,} bytes ({needed_bytes / 2**20:.1f} MiB) of shared memory, "
        f"{run.directory} has {free:,} free ({free / 2**20:.1f} MiB): {way_out}"
    )


def _path(run: Run, spec: SegmentSpec) -> str:
    return str(run.directory / run.object_name(spec.name))


def _open(path: str, flags: int) -> int:
    """A file descriptor, not inherited by children; symbolic links are refused. In /dev/shm this is shm_open(3)."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SegmentError(f"shared segment {path}, uid {os.geteuid()}: {error.strerror}") from error


def _allocate(fd: int, run: Run, spec: SegmentSpec) -> None:
    free, needed = free_bytes(run), spec.total_bytes
    try:
        os.posix_fallocate(fd, 0, needed)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise SegmentError(_no_space(run, f"segment {spec.name}", needed, free)) from error
        where = f"{needed:,} bytes in {run.directory} ({free:,} free)"
        raise SegmentError(f"segment {spec.name}: {where}: {error.strerror}") from error


def _prefault(memory: mmap.mmap, *, writable: bool) -> None:
    """Map every page now: the first access to an unmapped page is about ten times slower."""
    try:
        memory.madvise(_MADV_POPULATE_WRITE if writable else _MADV_POPULATE_READ)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE].max()  # a kernel before 5.14: read a byte of every page


def _check_file(fd: int, path: str) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise SegmentError(f"shared segment {path} is not a plain file")
    if status.st_uid != os.geteuid():
        raise SegmentError(f"shared segment {path} belongs to uid {status.st_uid}, this process is {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) != 0o600:
        raise SegmentError(f"shared segment {path} has mode {stat.S_IMODE(status.st_mode):o}, not 600")
    if status.st_size < HEADER_BYTES:
        raise SegmentError(f"shared segment {path} has {status.st_size} bytes < {HEADER_BYTES}, its header")


def _header_of(run: Run, kind: SegmentKind) -> dict[str, int | bytes]:
    """Every field but the magic."""
    return {
        "layout_version": LAYOUT_VERSION,
        "payload_bytes": kind.payload_bytes,
        "uid": os.geteuid(),
        "schema": kind.schema,
        "run_id": run.run_id.encode(),
        "kind": kind.kind.encode(),
    }


def _check_header(memory: mmap.mmap, run: Run, spec: SegmentSpec) -> None:
    header, path = np.frombuffer(memory, _HEADER, 1)[0].copy(), _path(run, spec)
    if header["magic"] != MAGIC:
        raise SegmentError(f"shared segment {path} is not ours or not finished: magic {int(header['magic']):#x}")
    for field, value in _header_of(run, spec.kind).items():
        if header[field] != value:
            raise SegmentError(f"shared segment {path} has {field} {header[field]}, this process expects {value!r}")
    if len(memory) != spec.total_bytes:
        raise SegmentError(f"shared segment {path} has {len(memory)} bytes, not {spec.total_bytes}")
