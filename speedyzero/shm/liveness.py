"""Who is alive: a process is named by its pid and its start time, because pids are reused.

Everything that is shared belongs to one writing process at a time. A `Claim` is the pair of words in which the writer
says who it is, so that a second writer is refused while the first one lives.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine, never confused with a later one of the same pid."""

    pid: int
    start_ticks: int  # clock ticks from boot to the start of the process


def process_of(pid: int) -> ProcessId | None:
    """The living process with that pid; None if there is none, or only a zombie of it."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command before it may hold blanks and brackets
    state, start_ticks = fields[0], int(fields[19])
    return None if state in "ZX" else ProcessId(pid, start_ticks)


def current_process() -> ProcessId:
    process = process_of(os.getpid())
    assert process is not None, "/proc must show the process that reads it"
    return process


def is_alive(process: ProcessId) -> bool:
    return process_of(process.pid) == process


@cache
def place() -> str:
    """Eight hex digits for (boot, pid namespace): pids of another place say nothing here.

    Containers that share /dev/shm but not their pids are two places; so are two boots of a machine.
    """
    boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    namespace = os.readlink(_PROC / "self/ns/pid")
    return hashlib.sha256(f"{boot_id} {namespace}".encode()).hexdigest()[:8]


def claim(words: memoryview, index: int, *, what: str) -> None:
    """Write this process into words[index : index + 2] (pid, start time) as the one writer of `what`.

    A dead holder is succeeded. A process may claim anew what it holds.

    Raises:
        ValueError: another holder is alive.
    """
    holder, me = ProcessId(words[index], words[index + 1]), current_process()
    if holder.pid and holder != me and is_alive(holder):
        raise ValueError(f"{what} has one writer at a time: process {holder.pid} holds it, refused to {me.pid}")
    words[index] = 0  # a death between these stores leaves nobody's name, never a wrong one
    words[index + 1] = me.start_ticks
    words[index] = me.pid
