"""Memory still available to this process and its children: limits of control groups (v1 and v2) and of the machine.

The limits of the process's group and of all its parents apply. Free memory is the limit less the usage, without file
cache that can be dropped at once. Swap is not counted. proc: the root of the files read, for tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
_UNLIMITED_BYTES = 2**62  # v1 writes "no limit" as the largest multiple of a page below 2^63


@dataclass(frozen=True)
class MemoryLimit:
    where: str
    limit_bytes: int
    free_bytes: int


# By version of control groups, as mountinfo names it: the files of limit and usage, and an entry of memory.stat.
_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    "cgroup2": ("memory.max", "memory.current", "inactive_file"),
}


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo. root: the part of the file system that is mounted; options: the file system's own."""

    root: PurePosixPath
    point: Path
    kind: str
    options: frozenset[str]


def tightest_memory_limit(*, proc: Path = PROC) -> MemoryLimit | None:
    """The limit with the least free memory; None if the kernel reports none."""
    return min((*group_limits(proc=proc), *_machine(proc)), key=lambda limit: limit.free_bytes, default=None)


def group_limits(*, proc: Path = PROC) -> Iterator[MemoryLimit]:
    """The limit of every limited control group that contains this process."""
    mounts = read_mounts(proc=proc)
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount in mounts:
            is_v1 = mount.kind == "cgroup" and "memory" in mount.options and "memory" in controllers.split(",")
            if is_v1 or (mount.kind == "cgroup2" and not controllers):
                yield from _limits_upwards(mount, PurePosixPath(path))


def _limits_upwards(mount: Mount, path: PurePosixPath) -> Iterator[MemoryLimit]:
    """From the process's group up to the mount, which may show only some of the groups, as in a container."""
    limit_file, usage_file, droppable = _FILES[mount.kind]
    inside = path.relative_to(mount.root) if path.is_relative_to(mount.root) else PurePosixPath()
    for group in (inside, *inside.parents):
        folder = mount.point / group
        try:
            text = (folder / limit_file).read_text().strip()
            used_bytes = int((folder / usage_file).read_text())
            stat = (folder / "memory.stat").read_text()
        except OSError:
            continue  # the root has no limit, and a hidden group no files
        limit_bytes = _UNLIMITED_BYTES if text == "max" else int(text)
        if limit_bytes >= _UNLIMITED_BYTES:
            continue
        droppable_bytes = int(dict(line.split() for line in stat.splitlines()).get(droppable, "0"))
        free_bytes = max(0, limit_bytes - max(0, used_bytes - droppable_bytes))
        yield MemoryLimit(f"control group {mount.root / group} ({limit_file})", limit_bytes, free_bytes)


def _machine(proc: Path) -> Iterator[MemoryLimit]:
    lines = (line.split() for line in _lines(proc / "meminfo"))
    size_bytes = {name.rstrip(":"): 1024 * int(kib) for name, kib, *_ in lines}
    if "MemAvailable" in size_bytes:
        yield MemoryLimit("this machine (MemAvailable)", size_bytes["MemTotal"], size_bytes["MemAvailable"])


def is_in_memory(directory: Path, *, proc: Path = PROC) -> bool:
    """Whether a directory is in memory (tmpfs, ramfs)."""
    holders = [mount for mount in read_mounts(proc=proc) if directory.resolve().is_relative_to(mount.point)]
    deepest = max((len(mount.point.parts) for mount in holders), default=0)
    kinds = [mount.kind for mount in holders if len(mount.point.parts) == deepest]
    return bool(kinds) and kinds[-1] in ("tmpfs", "ramfs")  # the last one mounted over the others


def read_mounts(*, proc: Path = PROC) -> list[Mount]:
    mounts = []
    for line in _lines(proc / "self/mountinfo"):
        left, _, right = line.partition(" - ")
        fields, (kind, _, *options) = left.split(), right.split()
        point = Path(fields[4].encode().decode("unicode_escape"))  # a blank is written \040
        mounts.append(Mount(PurePosixPath(fields[3]), point, kind, frozenset("".join(options).split(","))))
    return mounts


def _lines(path: Path) -> list[str]:
    """The file's lines; empty if the kernel does not provide it."""
    return path.read_text().splitlines() if path.exists() else []
