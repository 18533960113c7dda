"""The names of one run's shared objects. Every name contains the run's id, which contains its owner's.

    /dev/shm/speedyzero.<pid>-<start>-<place>-<random>.<name>        a segment
    /dev/shm/sem.speedyzero.<pid>-<start>-<place>-<random>.<name>    a semaphore

Two runs therefore never collide, and an object's name alone tells whether its run is dead, even if its creator died
before it wrote a header. `Run` is picklable and is all that a child needs to attach.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from speedyzero.shm.liveness import ProcessId, current_process, place

PREFIX = "speedyzero"
SHM_MOUNT = Path("/dev/shm")
_RUN_ID = re.compile(r"(?P<pid>\d+)-(?P<start>[0-9a-f]+)-(?P<place>[0-9a-f]{8})-[0-9a-f]{8}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_OBJECT = re.compile(rf"(?:sem\.)?{PREFIX}\.(?P<run_id>{_RUN_ID.pattern})\.(?P<name>{_NAME.pattern})")


@dataclass(frozen=True)
class Run:
    """One run of the program: created by the process that owns it and passed to every other.

    shm_dir: directory for segments as plain files, for machines whose /dev/shm is too small; None: /dev/shm.
    """

    run_id: str
    shm_dir: str | None = None

    @classmethod
    def new(cls, shm_dir: str | os.PathLike | None = None) -> Run:
        """A run owned by the calling process.

        Raises:
            ValueError: the machine is not Linux on x86-64, or shm_dir cannot be used.
        """
        check_platform()
        if shm_dir is not None:
            _check_directory(Path(shm_dir))
            shm_dir = str(Path(shm_dir).resolve())
        me = current_process()
        return cls(f"{me.pid}-{me.start_ticks:x}-{place()}-{secrets.token_hex(4)}", shm_dir)

    @property
    def owner(self) -> ProcessId:
        match = _RUN_ID.fullmatch(self.run_id)
        assert match is not None
        return ProcessId(int(match["pid"]), int(match["start"], 16))

    @property
    def place(self) -> str:
        """The scope of the owner's pid, see `liveness.place`."""
        return self.run_id.split("-")[2]

    @property
    def directory(self) -> Path:
        """The directory of the run's segments."""
        return Path(self.shm_dir) if self.shm_dir else SHM_MOUNT

    @property
    def meeting_file(self) -> Path:
        """A plain file for the rendezvous of processes that cannot attach yet."""
        return self.directory / self.object_name("meeting")

    def object_name(self, name: str) -> str:
        assert _NAME.fullmatch(name), f"{name!r} would not be found by `run_id_of`"
        return f"{PREFIX}.{self.run_id}.{name}"


def run_id_of(file_name: str) -> str | None:
    """The run of a file name in /dev/shm or a shm_dir; None: not one of ours."""
    match = _OBJECT.fullmatch(file_name)
    return None if match is None else match["run_id"]


def check_platform() -> None:
    """Raises ValueError except on Linux x86-64.

    The protocols rely on the order of plain stores (payload, checksum, counter), which ARM64 does not keep.
    """
    machine, system = platform.machine(), platform.system()
    if (machine, system, sys.byteorder) != ("x86_64", "Linux", "little"):
        raise ValueError(f"shared memory rings run on Linux x86-64 only: this is {system} {machine}")


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise ValueError(f"shm_dir={directory}: no such directory")
    status = directory.stat()
    others_may_write = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    if others_may_write:
        raise ValueError(
            f"shm_dir={directory} has mode {status.st_mode & 0o7777:o}: others could replace files in it; "
            "allow writing to its owner only (chmod go-w)"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"shm_dir={directory}: not writable for uid {os.geteuid()}")
