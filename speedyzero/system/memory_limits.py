"""Memory still available to this process and its children: limits of control groups (v1 and v2) and of the machine.

The limits of the process's group and of all its parents apply. Free memory is the limit less the usage, without file
cache that can be dropped at once. Swap is not counted. proc, groups: the roots of the files read, for tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_UNLIMITED_BYTES = 2**62  # v1 writes "no limit" as the largest multiple of a page below 2^63


@dataclass(frozen=True)
class MemoryLimit:
    where: str
    limit_bytes: int
    free_bytes: int


def tightest_memory_limit(*, proc: Path = PROC, groups: Path = GROUPS) -> MemoryLimit | None:
    """The limit with the least free memory; None if the kernel reports none."""
    limits = (*group_limits(proc=proc, groups=groups), *_machine(proc))
    return min(limits, key=lambda limit: limit.free_bytes, default=None)


def group_limits(*, proc: Path = PROC, groups: Path = GROUPS) -> Iterator[MemoryLimit]:
    """The limit of every limited control group that contains this process. A container sees only its own, as root."""
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        group = PurePosixPath(path.lstrip("/"))
        for inside in (group, *group.parents):
            if not controllers:
                yield from _limit(groups / inside, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from _limit(groups / "memory" / inside, *files)


def _limit(folder: Path, limit_file: str, usage_file: str, droppable: str) -> Iterator[MemoryLimit]:
    """droppable: an entry of memory.stat."""
    try:
        text = (folder / limit_file).read_text().strip()
        used_bytes = int((folder / usage_file).read_text())
        stat = (folder / "memory.stat").read_text()
    except OSError:
        return  # the root has no limit, and a hidden group no files
    limit_bytes = _UNLIMITED_BYTES if text == "max" else int(text)
    if limit_bytes < _UNLIMITED_BYTES:
        droppable_bytes = int(dict(line.split() for line in stat.splitlines()).get(droppable, "0"))
        free_bytes = max(0, limit_bytes - max(0, used_bytes - droppable_bytes))
        yield MemoryLimit(f"{folder / limit_file}", limit_bytes, free_bytes)


def _machine(proc: Path) -> Iterator[MemoryLimit]:
    lines = (line.split() for line in _lines(proc / "meminfo"))
    size_bytes = {name.rstrip(":"): 1024 * int(kib) for name, kib, *_ in lines}
    if "MemAvailable" in size_bytes:
        yield MemoryLimit("this machine (MemAvailable)", size_bytes["MemTotal"], size_bytes["MemAvailable"])


def is_in_memory(directory: Path, *, proc: Path = PROC) -> bool:
    """Whether a directory is in memory (tmpfs, ramfs)."""
    holder, kind = Path(), ""
    for line in _lines(proc / "self/mounts"):
        _, written, found, *_ = line.split()
        point = Path(written.encode().decode("unicode_escape"))  # a blank is written \040
        # The deepest mount holds it, of several at one point the last.
        if directory.resolve().is_relative_to(point) and len(point.parts) >= len(holder.parts):
            holder, kind = point, found
    return kind in ("tmpfs", "ramfs")


def _lines(path: Path) -> list[str]:
    """The file's lines; empty if the kernel does not provide it."""
    return path.read_text().splitlines() if path.exists() else []
