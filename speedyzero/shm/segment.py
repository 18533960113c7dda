"""A shared block of bytes with a header that identifies its content and owner.

    page 0   magic | layout version | payload bytes | owner uid | creator pid + start | schema | run id | kind
    page 1.. payload, initially zero

The magic is written last, so an unfinished segment is refused. A segment is created once (`O_CREX`), with mode 0600 and
its pages allocated (`posix_fallocate`: a full /dev/shm is an error now, not a SIGBUS later). Attaching takes the size
from the file and checks every field.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from dataclasses import dataclass

import numpy as np
import posix_ipc

from speedyzero.shm.liveness import ProcessId, current_process
from speedyzero.shm.run import Run, check_platform

MAGIC = int.from_bytes(b"SPZSHM\r\n", "little")
LAYOUT_VERSION = 1
HEADER_BYTES = 4096
CACHE_LINE_BYTES = 64

_HEADER = np.dtype(
    [
        ("magic", "u8"),
        ("layout_version", "u8"),
        ("payload_bytes", "u8"),
        ("uid", "u8"),
        ("pid", "u8"),
        ("start_ticks", "u8"),
        ("schema", "u8"),
        ("run_id", "S128"),
        ("kind", "S32"),
    ]
)
# Linux 5.14 and later; missing in the mmap module.
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23


class SegmentError(ValueError):
    """A shared object cannot be created, or differs from what was expected."""


@dataclass(frozen=True)
class SegmentKind:
    """The content of a segment, which creator and users must agree on."""

    kind: str  # ring, weights, board, arrays
    schema: int  # 64-bit digest of the description of the payload
    payload_bytes: int


class Segment:
    """A mapped segment. `payload` is its bytes, [payload_bytes] uint8, 4096-byte aligned."""

    def __init__(self, run: Run, name: str, memory: mmap.mmap, payload_bytes: int, writable: bool):
        self.run, self.name, self.writable = run, name, writable
        self._memory = memory
        self.payload = np.frombuffer(memory, np.uint8, payload_bytes, HEADER_BYTES)
        assert self.payload.ctypes.data % CACHE_LINE_BYTES == 0

    @classmethod
    def create(cls, run: Run, name: str, kind: SegmentKind, *, prefault: bool = True) -> Segment:
        """Create the segment, with all pages allocated and the payload zero.

        Raises:
            SegmentError: the name exists, or there is too little space (with both numbers).
        """
        check_platform()
        fd = _open(run, name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            os.fchmod(fd, 0o600)  # independent of the umask
            _allocate(fd, run, name, HEADER_BYTES + kind.payload_bytes)
            memory = mmap.mmap(fd, HEADER_BYTES + kind.payload_bytes)
        except BaseException:
            _unlink(run, name)
            raise
        finally:
            os.close(fd)
        me = current_process()
        header = np.frombuffer(memory, _HEADER, 1)
        header["layout_version"], header["payload_bytes"] = LAYOUT_VERSION, kind.payload_bytes
        header["uid"], header["pid"], header["start_ticks"] = os.geteuid(), me.pid, me.start_ticks
        header["schema"], header["kind"], header["run_id"] = kind.schema, kind.kind.encode(), run.run_id.encode()
        header["magic"] = MAGIC
        segment = cls(run, name, memory, kind.payload_bytes, writable=True)
        if prefault:
            segment.prefault()
        return segment

    @classmethod
    def attach(cls, run: Run, name: str, kind: SegmentKind, *, writable: bool = True, prefault: bool = True) -> Segment:
        """Map a segment that another process created. writable=False maps the pages read-only.

        Raises:
            SegmentError: it does not exist, or a field of its header differs from what this process expects.
        """
        check_platform()
        fd = _open(run, name, os.O_RDWR if writable else os.O_RDONLY)
        try:
            _check_file(fd, run, name)
            memory = mmap.mmap(fd, 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
        finally:
            os.close(fd)
        _check_header(memory, run, name, kind)
        segment = cls(run, name, memory, kind.payload_bytes, writable)
        if prefault:
            segment.prefault()
        return segment

    @property
    def creator(self) -> ProcessId:
        header = np.frombuffer(self._memory, _HEADER, 1)[0]
        return ProcessId(int(header["pid"]), int(header["start_ticks"]))

    def words(self) -> memoryview:
        """The payload as unsigned 64-bit words, for cheap aligned 8-byte loads and stores."""
        return memoryview(self._memory)[HEADER_BYTES:].cast("Q")

    def prefault(self) -> None:
        """Map every page now: the first access to an unmapped page is about ten times slower."""
        try:
            self._memory.madvise(_MADV_POPULATE_WRITE if self.writable else _MADV_POPULATE_READ)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.payload[:: mmap.PAGESIZE].max(initial=0)  # a kernel before 5.14: read a byte of every page

    def close(self) -> None:
        """Release the mapping; views that still exist keep it alive."""
        self.payload = np.empty(0, np.uint8)
        try:
            self._memory.close()
        except BufferError:
            return  # unmapped when the last view is freed

    def unlink(self) -> None:
        """Remove the name, if it exists. Attached processes keep their mapping."""
        _unlink(self.run, self.name)


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


def _path(run: Run, name: str) -> str:
    return str(run.directory / run.object_name(name))


def _open(run: Run, name: str, flags: int) -> int:
    """A file descriptor of the segment, not inherited by children; symbolic links are refused."""
    try:
        if run.shm_dir:
            return os.open(_path(run, name), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        # Size 0 keeps the size: resizing a live segment kills the processes that map it.
        shared = posix_ipc.SharedMemory(
            "/" + run.object_name(name),
            flags=posix_ipc.O_CREX if flags & os.O_CREAT else 0,
            mode=0o600,
            size=0,
            read_only=not flags & os.O_RDWR,
        )
        return shared.fd
    except (FileExistsError, FileNotFoundError, posix_ipc.ExistentialError) as error:
        reason = "exists already" if flags & os.O_CREAT else "does not exist"
        raise SegmentError(f"shared segment {_path(run, name)} {reason}") from error
    except posix_ipc.PermissionsError as error:
        raise SegmentError(f"shared segment {_path(run, name)}: uid {os.geteuid()} may not open it") from error
    except OSError as error:
        raise SegmentError(f"shared segment {_path(run, name)}, uid {os.geteuid()}: {error.strerror}") from error


def _unlink(run: Run, name: str) -> None:
    try:
        os.unlink(_path(run, name))
    except FileNotFoundError:
        return


def _allocate(fd: int, run: Run, name: str, total_bytes: int) -> None:
    free = free_bytes(run)
    try:
        os.posix_fallocate(fd, 0, total_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise SegmentError(_no_space(run, f"segment {name}", total_bytes, free)) from error
        raise SegmentError(
            f"segment {name}: {total_bytes:,} bytes in {run.directory} ({free:,} free): {error.strerror}"
        ) from error


def _check_file(fd: int, run: Run, name: str) -> None:
    status, path = os.fstat(fd), _path(run, name)
    if not stat.S_ISREG(status.st_mode):
        raise SegmentError(f"shared segment {path} is not a plain file")
    if status.st_uid != os.geteuid():
        raise SegmentError(f"shared segment {path} belongs to uid {status.st_uid}, this process is {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) != 0o600:
        raise SegmentError(f"shared segment {path} has mode {stat.S_IMODE(status.st_mode):o}, not 600")
    if status.st_size < HEADER_BYTES:
        raise SegmentError(f"shared segment {path} has {status.st_size} bytes < {HEADER_BYTES}, its header")


def _check_header(memory: mmap.mmap, run: Run, name: str, kind: SegmentKind) -> None:
    header, path = np.frombuffer(memory, _HEADER, 1)[0].copy(), _path(run, name)
    if header["magic"] != MAGIC:
        raise SegmentError(f"shared segment {path} is not ours or not finished: magic {int(header['magic']):#x}")
    expected = {
        "layout_version": LAYOUT_VERSION,
        "run_id": run.run_id.encode(),
        "uid": os.geteuid(),
        "kind": kind.kind.encode(),
        "payload_bytes": kind.payload_bytes,
        "schema": kind.schema,
    }
    for field, value in expected.items():
        if header[field] != value:
            raise SegmentError(f"shared segment {path} has {field} {header[field]}, this process expects {value}")
    if len(memory) != HEADER_BYTES + kind.payload_bytes:
        raise SegmentError(f"shared segment {path} has {len(memory)} bytes, not {HEADER_BYTES + kind.payload_bytes}")
