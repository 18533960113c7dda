"""Which internet sockets processes hold, as the kernel lists them."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# Tables of /proc/net, and the state in which a socket of that kind waits for strangers.
_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07", "raw": "07", "raw6": "07"}


@dataclass(frozen=True)
class InetSocket:
    """listens: it waits for strangers: a TCP socket that accepts, or a bound one of another kind without a peer."""

    pid: int
    protocol: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    listens: bool

    @property
    def is_loopback(self) -> bool:
        mapped = getattr(self.address, "ipv4_mapped", None)
        return (mapped or self.address).is_loopback


def inet_sockets(pids: Iterable[int]) -> list[InetSocket]:
    """Every internet socket that the processes hold. Ended ones hold none."""
    found = []
    for pid in pids:
        inodes = _socket_inodes(pid)
        for table, waiting in _WAITING.items():
            found += [
                InetSocket(pid, table, *_endpoint(fields[1]), listens=fields[3] == waiting)
                for fields in _rows(pid, table)
                if fields[9] in inodes
            ]
    return found


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended meanwhile
    return inodes


def _rows(pid: int, table: str) -> list[list[str]]:
    """The lines of the process's own network namespace."""
    try:
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
    except OSError:  # it ended, or the kernel has no such protocol
        return []
    return [line.split() for line in lines[1:]]


def _endpoint(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """`0100007F:1F90` is 127.0.0.1, port 8080: each 32-bit word of the address in the machine's byte order."""
    address, port = text.split(":")
    words = bytes.fromhex(address)
    packed = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
    return ipaddress.ip_address(packed), int(port, 16)
