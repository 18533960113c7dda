"""Which internet sockets processes hold, as the kernel lists them."""

import ipaddress
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Tables of /proc/net, and the state in which a socket of that kind waits for strangers.
_WAITING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07", "raw": "07", "raw6": "07"}


@dataclass(frozen=True)
class InetSocket:
    """listens: it waits for strangers: a TCP socket that accepts, or a bound one of another kind without a peer."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    listens: bool

    @property
    def is_loopback(self) -> bool:
        return (getattr(self.address, "ipv4_mapped", None) or self.address).is_loopback


def inet_sockets(pids: Iterable[int]) -> list[InetSocket]:
    """Every internet socket that the processes hold, of their own network namespaces. Ended ones hold none."""
    found = []
    for pid in pids:
        held = set()
        try:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):  # closed in between
                    held.add(os.readlink(descriptor))
            tables = {name: Path(f"/proc/{pid}/net/{name}") for name in _WAITING}
            rows = {name: path.read_text().splitlines()[1:] for name, path in tables.items() if path.exists()}
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        for name, lines in rows.items():
            for fields in map(str.split, lines):
                if f"socket:[{fields[9]}]" in held:
                    found.append(InetSocket(*_endpoint(fields[1]), listens=fields[3] == _WAITING[name]))
    return found


def _endpoint(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """`0100007F:1F90` is 127.0.0.1, port 8080: each 32-bit word of the address in the machine's byte order."""
    address, port = text.split(":")
    words = bytes.fromhex(address)
    packed = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
    return ipaddress.ip_address(packed), int(port, 16)
