"""Memory and CPU time of a process and of the machine, from /proc, for gauges and profiles."""

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _GUEST = 3, 4, 8  # columns of /proc/stat; user time includes guest time


def own_memory_bytes(pid: int) -> int | None:
    """Anonymous memory of a process, including what it was forked with; None if it has ended."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), None)
    return None if kib is None else int(kib) * 1024


def core_wait_s(pid: int) -> float | None:
    """How long a process's main thread has waited for a core; None if unknown."""
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def machine_cpu_s() -> float:
    """CPU time used by all programs on this process's cores, plus steal time."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in (_PROC / "stat").read_text().splitlines():
        name, _, columns = line.partition(" ")
        if name in cores:
            counts = [int(count) for count in columns.split()][:_GUEST]
            ticks += sum(counts) - counts[_IDLE] - counts[_IOWAIT]
    return ticks * _TICK_S
