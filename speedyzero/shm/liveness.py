"""Process identity and liveness: a process is identified by pid and start time, because pids are reused.

Every shared object has one writing process at a time. A claim is two words that hold the writer's identity; a second
writer is refused while the first one lives.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessId:
    """A process of this machine, distinct from a later one with the same pid."""

    pid: int
    start_ticks: int  # clock ticks from boot to the start of the process


def process_of(pid: int) -> ProcessId | None:
    """The living process with that pid; None if there is none or it is a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the command before it may contain blanks and parentheses
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
    """Eight hex digits of (boot, pid namespace), the scope in which a pid has a meaning.

    Containers that share /dev/shm but not their pids are two places, as are two boots of a machine.
    """
    boot_id = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    namespace = os.readlink(_PROC / "self/ns/pid")
    return hashlib.sha256(f"{boot_id} {namespace}".encode()).hexdigest()[:8]


def claim(words: memoryview, index: int, *, what: str) -> None:
    """Write this process into words[index : index + 2] (pid, start time) as the only writer of `what`.

    Raises:
        ValueError: another holder is alive. A dead holder is replaced.
    """
    holder, me = ProcessId(words[index], words[index + 1]), current_process()
    if holder.pid and holder != me and is_alive(holder):
        raise ValueError(f"{what} has one writer at a time: process {holder.pid} holds it, refused to {me.pid}")
    words[index] = 0  # dying between these stores leaves no holder, never a wrong one
    words[index + 1] = me.start_ticks
    words[index] = me.pid
