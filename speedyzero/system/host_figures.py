"""What the kernel says of a process and of the machine's cores, for gauges and profiles. Linux's /proc."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _GUEST = 3, 4, 8  # columns of /proc/stat; guest time is within user time already


def own_memory_bytes(pid: int) -> int | None:
    """Memory of a process that it shares with no file, what it was forked with included; None where it has ended."""
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("RssAnon:")), None)
    return None if kib is None else int(kib) * 1024


def core_wait_s(pid: int) -> float | None:
    """How long a process's main thread could have run and had no core; None where that is not known."""
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return None


def machine_cpu_s() -> float:
    """Processor time that all programs have used of the cores that this process may use, and that a host withheld."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in (_PROC / "stat").read_text().splitlines():
        name, _, columns = line.partition(" ")
        if name in cores:
            counts = [int(count) for count in columns.split()][:_GUEST]
            ticks += sum(counts) - counts[_IDLE] - counts[_IOWAIT]
    return ticks * _TICK_S
